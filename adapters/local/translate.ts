import { join } from "node:path";
import type { InstanceRef, LaunchRequest, Observation } from "@soulbox/core";
import type { LaunchFiles, LaunchRecord } from "./state.ts";

/** What the processes and the freezer of a launch show. */
export interface Vitals {
  /** The first process inside lives. */
  readonly inside: boolean;
  /** The process that was launched for it lives. */
  readonly outside: boolean;
  readonly frozen: boolean;
  /** The machine hasn't been restarted since. */
  readonly sameBoot: boolean;
}

/** Longest path of a unix socket in bytes, its closing zero aside. Source: unix(7), `sun_path`. */
export const SOCKET_PATH_MAX = 107;

/** What is kept of a launch. Nothing of the agent's environment. */
export function recordOf(
  { launchId, labels }: Pick<LaunchRequest, "launchId" | "labels">,
  host: {
    readonly bootId: string;
    readonly runDir: string;
    readonly groups: { readonly dirs: readonly string[]; readonly freezer: string | undefined };
  },
): LaunchRecord {
  const { bootId, runDir, groups } = host;
  const { dirs: cgroups, freezer } = groups;
  const record = { launchId, labels, bootId, runDir, cgroups };
  return freezer === undefined ? record : { ...record, freezer };
}

/** An instance as its files and processes show it. Pure. */
export function observe(
  { launchId }: Pick<InstanceRef, "launchId">,
  files: LaunchFiles | undefined,
  vitals: Vitals,
): Observation {
  if (files === undefined) return { ...NOTHING, launchId, detail: "no such directory" };
  const { record, startedAtMs } = files;
  const [phase, detail] = phaseOf(files, vitals);
  const isGone = phase === "gone";
  return {
    launchId,
    // The directory's name is the native id: there is nothing better than the launch id.
    nativeId: launchId,
    phase,
    agentAddress:
      isGone || record === undefined ? undefined : `unix:${join(record.runDir, "agent.sock")}`,
    startedAtMs: startedAtMs,
    endedAtMs: undefined,
    breach: undefined,
    detail,
  };
}

function phaseOf(files: LaunchFiles, vitals: Vitals): [Observation["phase"], string] {
  const { record, claim, init, isEnding } = files;
  if (record === undefined) return ["gone", "launch.json is damaged"];
  if (!vitals.sameBoot) return ["gone", "the machine was restarted"];
  if (isEnding) return ["terminating", "being removed"];
  if (init !== undefined && vitals.inside) {
    return vitals.frozen ? ["paused", "frozen"] : ["running", `host pid ${init.pid}`];
  }
  if (init !== undefined) return ["gone", "its first process has ended"];
  if (claim === undefined) return ["starting", "not claimed"];
  if (claim !== "void" && vitals.outside) return ["starting", `host pid ${claim.pid}`];
  return ["gone", "it ended on the way in"];
}

const NOTHING: Omit<Observation, "launchId" | "detail"> = {
  nativeId: undefined,
  phase: "gone",
  agentAddress: undefined,
  startedAtMs: undefined,
  endedAtMs: undefined,
  breach: undefined,
};
