/**
 * Runs the suites, all or those named: `npm test`, `npm run test:unit` and so on. Brings up a
 * container engine where a suite needs one and none answers, and stops it afterwards.
 */
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ensureEngine } from "./engine.ts";

interface Suite {
  readonly name: string;
  readonly project: string;
  readonly needsEngine: boolean;
  readonly env?: Readonly<Record<string, string>>;
}

const SUITES: readonly Suite[] = [
  { name: "unit", project: "unit", needsEngine: false },
  { name: "contract", project: "contract", needsEngine: true },
  { name: "sim", project: "sim", needsEngine: false },
  { name: "e2b", project: "e2b", needsEngine: true, env: { SOULBOX_TEST_PROVIDER: "docker" } },
  { name: "e2b", project: "e2b", needsEngine: false, env: { SOULBOX_TEST_PROVIDER: "local" } },
  { name: "e2e", project: "e2e", needsEngine: true },
];

const root = join(import.meta.dirname, "..");
const wanted = process.argv.slice(2);
const known = new Set(SUITES.map(({ name }) => name));
const unknown = wanted.filter((name) => !known.has(name));
if (unknown.length > 0) {
  console.error(`There is no suite ${unknown.join(", ")}; there are ${[...known].join(", ")}.`);
  process.exit(2);
}
const suites = SUITES.filter(({ name }) => wanted.length === 0 || wanted.includes(name));
const needsEngine = suites.some((suite) => suite.needsEngine);
const engine = needsEngine ? await ensureEngine((line) => console.log(line)) : undefined;
if (engine !== undefined) process.env.DOCKER_HOST = `unix://${engine.socketPath}`;

const total = { passed: 0, failed: 0, skipped: 0 };
try {
  for (const suite of suites) {
    const label = [suite.name, ...Object.values(suite.env ?? {})].join(" ");
    const beganAtMs = performance.now();
    const counts = await run(suite);
    const seconds = ((performance.now() - beganAtMs) / 1000).toFixed(0);
    console.log(`${label}: ${counts.passed} passed, ${counts.failed} failed (${seconds} s)`);
    for (const key of ["passed", "failed", "skipped"] as const) total[key] += counts[key];
  }
} finally {
  await engine?.stop();
}
console.log(`\n${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
process.exitCode = total.failed === 0 && total.passed > 0 ? 0 : 1;

async function run({ project, env }: Suite): Promise<typeof total> {
  const folder = mkdtempSync(join(tmpdir(), "soulbox-test-"));
  const report = join(folder, "report.json");
  const vitest = join(root, "node_modules/vitest/vitest.mjs");
  const reporter = process.env.CI === undefined ? "default" : "dot";
  const args = ["run", "--project", project, "--reporter", reporter, "--reporter", "json"];
  const child = spawn(process.execPath, [vitest, ...args, `--outputFile.json=${report}`], {
    cwd: root,
    env: { ...process.env, ...env },
    stdio: "inherit",
  });
  const code = await new Promise<number>((resolve) => {
    child.on("exit", (status) => resolve(status ?? 1));
  });
  try {
    const { numPassedTests, numFailedTests, numPendingTests } = JSON.parse(
      readFileSync(report, "utf8"),
    );
    // A file that can't be loaded fails no test, but the run.
    const failed = Math.max(numFailedTests, code === 0 ? 0 : 1);
    return { passed: numPassedTests, failed, skipped: numPendingTests };
  } catch {
    return { passed: 0, failed: 1, skipped: 0 };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
