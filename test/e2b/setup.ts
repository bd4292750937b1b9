import { randomUUID } from "node:crypto";
import type { TestProject } from "vitest/node";
import { PROVIDERS, type ProviderName, type Server, startServer } from "./server.ts";

declare module "vitest" {
  interface ProvidedContext {
    /** The server under test; one serves all files. */
    soulbox: {
      readonly provider: ProviderName;
      readonly url: string;
      readonly apiKey: string;
      /** Marks what this run creates. */
      readonly run: string;
    };
  }
}

let server: Server | undefined;
let runner: TestProject["vitest"] | undefined;

export async function setup(project: TestProject): Promise<void> {
  runner = project.vitest;
  const provider = chosenProvider();
  server = await startServer({ provider, program: process.env.SOULBOX_TEST_PROGRAM });
  const { url, apiKey } = server;
  project.provide("soulbox", { provider, url, apiKey, run: randomUUID() });
}

export async function teardown(): Promise<void> {
  if (server !== undefined && (runner?.state.getFailedFilepaths().length ?? 0) > 0) {
    process.stderr.write(`The server of the failed tests.${server.logTail()}\n`);
  }
  await server?.stop();
}

function chosenProvider(): ProviderName {
  const chosen = process.env.SOULBOX_TEST_PROVIDER ?? "docker";
  const known = PROVIDERS.find((provider) => provider === chosen);
  if (known !== undefined) return known;
  throw new Error(
    `SOULBOX_TEST_PROVIDER is ${JSON.stringify(chosen)}; it can be ${PROVIDERS.join(" or ")}.`,
  );
}
