import { durationMs, type Fit, type Traits } from "@soulbox/core";
import { PIDS_MAX } from "./cgroup.ts";
import type { DiskKind } from "./disk.ts";
import type { FilterLoader, LocalProbe } from "./probe.ts";

/** What a set-up decides that the traits tell. */
export interface LocalFacts {
  /** How the filter of system calls gets loaded, `undefined` when it doesn't. */
  readonly filter: FilterLoader | undefined;
  /** True when `sudo` works inside. */
  readonly hasSudo: boolean;
  readonly diskKind: DiskKind;
  /** Size of the disk that the data directory is on. */
  readonly diskMibMax: number;
}

/** The one region: this machine. */
export const REGION = "local";

/**
 * What this machine gives, and in plain words what it doesn't.
 *
 * @param setup What was decided at the opening.
 */
export function traitsOf(probe: LocalProbe, setup: LocalFacts): Traits {
  return {
    regions: [REGION],
    fit: (spec) => fitLocal(probe, setup.diskMibMax, spec),
    lifetimeMsMax: undefined,
    launchMsMax: durationMs(30_000),
    readLagMs: durationMs(0),
    isolation: "namespace",
    gaps: probe.refused === undefined ? gapsOf(probe, setup) : [clause(probe.refused)],
  };
}

/** What isn't enforced or isn't there, one clause each. */
function gapsOf(
  { identity, cgroups: { parents }, loopback, swapIsFree }: LocalProbe,
  { filter, hasSudo, diskKind }: LocalFacts,
): readonly string[] {
  const isRoot = identity === "root";
  const isImage = diskKind === "image";
  const isHeld = parents.memory !== undefined;
  const gaps: readonly (readonly [applies: boolean, clause: string])[] = [
    [true, "sandboxes share the host's kernel: a hole in it lets them out"],
    [isRoot, "root inside is the host's root with few capabilities: there is no user namespace"],
    [filter === undefined, "system calls aren't filtered: no tool here loads a seccomp filter"],
    [true, "the host's /usr is what they run, and can be read but not changed: no apt-get"],
    [true, "no network beyond their own loopback"],
    [loopback === "none", "no loopback either: none of ip, ifconfig and perl is installed"],
    [isImage, "disks are sparse files: together they may promise more than the host's disk has"],
    [!isImage && isHeld, "files are kept in memory, and take at most three quarters of memoryMib"],
    [!hasSudo, "no sudo"],
    [identity === "single", "one user only: whoever runs inside is root there"],
    [!isImage && !isHeld, "files are kept in memory, limited by diskMib alone"],
    [!isHeld, "memory isn't limited"],
    [swapIsFree, "swap isn't counted"],
    [parents.cpu === undefined, "CPU isn't limited"],
    [parents.pids === undefined, pidsGap(isRoot)],
    [parents.freezer === undefined, "no pause"],
    [true, "no stop timer of their own: while the server is down they run on"],
  ];
  return gaps.filter(([applies]) => applies).map(([, clause]) => clause);
}

function pidsGap(isRoot: boolean): string {
  return isRoot
    ? "the number of processes isn't limited"
    : `processes are limited to ${PIDS_MAX} per user inside, not per sandbox`;
}

/** Gives what is asked, as far as this machine has it. Pure. */
function fitLocal(
  probe: LocalProbe,
  diskMibMax: number,
  { resources, network }: Parameters<Traits["fit"]>[0],
): Fit {
  const { cpuMilli, memoryMib, diskMib } = resources;
  const { refused, host } = probe;
  if (refused !== undefined) return { refused };
  if (network.internet === true) {
    return { refused: "local gives sandboxes no network beyond their own loopback." };
  }
  if (network.bandwidthKbit !== undefined) {
    return { refused: "local has no network whose bandwidth could be limited." };
  }
  if (cpuMilli > host.cpuMilli) {
    return { refused: `This machine has ${host.cpuMilli / 1000} CPUs, not ${cpuMilli / 1000}.` };
  }
  if (memoryMib > host.memoryMib) {
    return { refused: `This machine has ${host.memoryMib} MiB of memory, not ${memoryMib}.` };
  }
  if (diskMib > diskMibMax) {
    return { refused: `This machine's disk has ${diskMibMax} MiB, not ${diskMib}.` };
  }
  return { resources };
}

/** A sentence as a clause of a list. */
function clause(sentence: string): string {
  return sentence.replace(/\.$/, "");
}
