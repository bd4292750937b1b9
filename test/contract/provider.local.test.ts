import { readFile } from "node:fs/promises";
import { join } from "node:path";
import {
  answers,
  ask,
  BASE,
  leftoversOf,
  openBench,
  provocations,
} from "../../adapters/local/testing/harness.ts";
import { providerContract } from "./provider.contract.ts";

providerContract("local", async () => {
  const bench = openBench();
  return {
    provider: bench.provider,
    stage: "one",
    neighbour: { provider: bench.reopen({ stage: "two" }), stage: "two" },
    template: BASE,
    reach: async (seen) => (await ask(seen, "/health")) !== undefined,
    async identity(seen) {
      await answers(seen);
      const [pid, , ...fields] = ((await ask(seen, "/identity")) ?? "").split(" ");
      return `${pid} ${fields[19]}`;
    },
    async labels(launchId) {
      const text = await readFile(join(bench.dataDir, "local", launchId, "launch.json"), "utf8");
      return JSON.parse(text).labels;
    },
    leftovers: async () => leftoversOf(bench, "c"),
    provoke: provocations(bench),
    close: () => bench.close(),
  };
});
