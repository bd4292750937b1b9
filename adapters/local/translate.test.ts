import { epochMs } from "@soulbox/core";
import { describe, expect, it } from "vitest";
import type { LaunchFiles } from "./state.ts";
import { aLaunchId, requestOf } from "./testing/harness.ts";
import { observe, recordOf, type Vitals } from "./translate.ts";

const launchId = aLaunchId();
const host = { bootId: "boot", runDir: "/run/x", groups: { dirs: ["/c"], freezer: undefined } };
const WHOLE: LaunchFiles = {
  record: recordOf(requestOf(launchId), host),
  claim: { pid: 10, start: "1" },
  init: { pid: 11, start: "2" },
  startedAtMs: epochMs(5),
  isEnding: false,
};
const ALIVE: Vitals = { inside: true, outside: true, frozen: false, sameBoot: true };
const DEAD: Vitals = { ...ALIVE, inside: false, outside: false };

describe("observe", () => {
  it.each<[claim: string, phase: string, files: Partial<LaunchFiles>, vitals: Vitals]>([
    ["its first process lives", "running", {}, ALIVE],
    ["only its first process lives", "running", {}, { ...ALIVE, outside: false }],
    ["it stands still", "paused", {}, { ...ALIVE, frozen: true }],
    ["it is being removed", "terminating", { isEnding: true }, ALIVE],
    ["it is removed and dead", "terminating", { isEnding: true }, DEAD],
    ["nothing has been started", "starting", { claim: undefined, init: undefined }, DEAD],
    ["it is on its way in", "starting", { init: undefined }, { ...ALIVE, inside: false }],
    ["it died on its way in", "gone", { init: undefined }, DEAD],
    ["it was given up", "gone", { claim: "void", init: undefined }, DEAD],
    ["it has ended", "gone", {}, DEAD],
    ["it ended while it stood still", "gone", {}, { ...DEAD, frozen: true }],
    ["the machine was restarted", "gone", {}, { ...ALIVE, sameBoot: false }],
    ["its record is damaged", "gone", { record: undefined }, ALIVE],
  ])("when %s, says %s", (_, phase, files, vitals) => {
    const seen = observe({ launchId }, { ...WHOLE, ...files }, vitals);

    expect(seen).toMatchObject({ launchId, phase, nativeId: launchId });
    const address = phase === "gone" ? undefined : "unix:/run/x/agent.sock";
    expect(seen.agentAddress).toBe(address);
  });

  it("says gone, and no more, of what has no directory", () => {
    expect(observe({ launchId }, undefined, DEAD)).toMatchObject({
      launchId,
      phase: "gone",
      nativeId: undefined,
      agentAddress: undefined,
      startedAtMs: undefined,
    });
  });
});

describe("recordOf", () => {
  it("keeps nothing of the agent's environment", () => {
    const request = { ...requestOf(launchId), agentEnv: { KEY: "canary" } };

    const record = recordOf(request, { ...host, groups: { dirs: ["/c"], freezer: "/c" } });

    expect(JSON.stringify(record)).not.toContain("canary");
    expect(record).toMatchObject({ labels: request.labels, freezer: "/c" });
  });
});
