import { defineConfig } from "vitest/config";

/** Tests that start containers: they belong to the suites that have an engine. */
const WITH_ENGINE = [
  "adapters/docker/images.test.ts",
  "adapters/docker/image-contents.test.ts",
  "adapters/docker/engine.test.ts",
];

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: "unit",
          include: [
            "packages/**/*.test.ts",
            "adapters/**/*.test.ts",
            "functions/**/*.test.ts",
            "infra/**/*.test.ts",
            "test/*.test.ts",
          ],
          exclude: ["**/node_modules/**", ...WITH_ENGINE],
          testTimeout: 20_000,
          hookTimeout: 60_000,
        },
      },
      {
        test: {
          name: "contract",
          include: ["test/contract/*.test.ts"],
          testTimeout: 60_000,
          hookTimeout: 600_000,
        },
      },
      {
        test: {
          name: "sim",
          include: ["test/sim/*.test.ts"],
          testTimeout: 240_000,
          maxWorkers: 1,
        },
      },
      "test/e2b/vitest.config.ts",
      {
        test: {
          name: "e2e",
          include: ["test/e2e/*.test.ts", ...WITH_ENGINE],
          testTimeout: 300_000,
          hookTimeout: 600_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
