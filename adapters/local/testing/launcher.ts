// A server of its own: launches what it is told, one after the other, says so, and waits to be killed.

import type { LaunchId } from "@soulbox/core";
import { local } from "../index.ts";
import { AGENT_PATH, requestOf, signal } from "./harness.ts";

const [dataDir = "", ...launchIds] = process.argv.slice(2);
const provider = local({ stage: "one", agentPath: AGENT_PATH, dataDir, log: () => {} });
process.stdout.write("open\n");
for (const launchId of launchIds) {
  await provider.launch(requestOf(launchId as LaunchId), signal());
  process.stdout.write("launched\n");
}
setInterval(() => {}, 1000);
