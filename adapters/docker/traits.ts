import { durationMs, type Fit, type SandboxSpec, type Traits } from "@soulbox/core";
import { type EngineFacts, isGvisor } from "./facts.ts";

/** The one region of an engine. */
export const REGION = "local";

/** A cold start takes 0.2 s; four at a time on a busy host, with a queue before them, far longer. */
const LAUNCH_MS_MAX = durationMs(60_000);

/** Smallest sandbox that the engine takes: its own bounds, 6 MiB and a hundredth of a CPU. */
const MEMORY_MIB_MIN = 6;
const CPU_MILLI_MIN = 10;

/**
 * What an engine offers.
 *
 * @param facts `undefined` while no engine has answered: everything fits then, and the launch
 *   finds out.
 */
export function traitsOf(facts: EngineFacts | undefined): Traits {
  return {
    regions: [REGION],
    fit: (spec) => fitOf(spec, facts),
    lifetimeMsMax: undefined,
    launchMsMax: LAUNCH_MS_MAX,
    readLagMs: durationMs(0),
    isolation: isGvisor(facts?.runtime) ? "gvisor" : "container",
    gaps: facts === undefined ? ["the engine has not answered yet"] : gapsOf(facts),
  };
}

/** How a sandbox is attached: to the bridge, or to nothing but a unix socket. */
export function attachmentOf(
  { internet }: Pick<SandboxSpec["network"], "internet">,
  facts: EngineFacts,
): "bridge" | "none" {
  if (internet === false) return "none";
  return facts.egress === "none" ? "none" : "bridge";
}

function fitOf(
  { resources, network }: Pick<SandboxSpec, "resources" | "network">,
  facts?: EngineFacts,
): Fit {
  const { cpuMilli, memoryMib, diskMib } = resources;
  if (facts === undefined) return { resources };
  const refused = (why: string): Fit => ({ refused: why });

  if (!facts.limits.cpu) return refused("The engine's kernel can't limit CPU.");
  if (!facts.limits.memory) return refused("The engine's kernel can't limit memory.");
  if (cpuMilli > facts.cpuMilli) {
    return refused(`The engine has ${facts.cpuMilli / 1000} CPUs, not ${cpuMilli / 1000}.`);
  }
  if (memoryMib > facts.memoryMib) {
    return refused(`The engine has ${facts.memoryMib} MiB of memory, not ${memoryMib}.`);
  }
  if (diskMib > (facts.diskMib ?? DISK_MIB_MAX)) {
    return refused(`The engine has ${facts.diskMib ?? DISK_MIB_MAX} MiB of disk, not ${diskMib}.`);
  }
  const attachment = attachmentOf(network, facts);
  if (network.internet === true && attachment === "none") {
    return refused("Egress rules can't be laid on the engine's host, so there is no internet.");
  }
  if (attachment === "none" && !facts.sockets) {
    return refused("A sandbox without a network can't be reached on an engine that is not here.");
  }
  if (network.bandwidthKbit !== undefined && attachment === "bridge" && !facts.bandwidth) {
    return refused("The engine's host can't limit bandwidth: that takes root, tc and its bridge.");
  }
  return {
    resources: {
      cpuMilli: Math.max(cpuMilli, CPU_MILLI_MIN),
      memoryMib: Math.max(memoryMib, MEMORY_MIB_MIN),
      diskMib,
    },
  };
}

/** Bound where the engine's disk can't be seen, mebibytes. */
const DISK_MIB_MAX = 1024 * 1024;

function gapsOf(facts: EngineFacts): readonly string[] {
  const { limits } = facts;
  const gaps: readonly (readonly [boolean, string])[] = [
    [true, "no timer at the engine: a sandbox outlives its end while no server runs"],
    [!isGvisor(facts.runtime), "the host's kernel is shared with the sandboxes"],
    [facts.disk === "measured", "disk is measured every 30 s, not bounded: the host's can fill up"],
    [!limits.pids, "the number of processes is not limited"],
    [!limits.swap, "swap is not limited"],
    [facts.engine === "podman", "sandboxes can make user namespaces: Podman's filter allows that"],
    [!facts.seccomp, "system calls are not filtered"],
    [facts.egress === "open", "sandboxes reach private networks and the host"],
    [facts.egress === "none", "no sandbox gets a network: egress rules can't be laid"],
    [facts.reach === "published", "agents listen on ports of the host's loopback"],
    [!facts.bandwidth, "bandwidth can't be limited"],
  ];
  return gaps.filter(([applies]) => applies).map(([, gap]) => gap);
}
