import { statfsSync } from "node:fs";
import { release } from "node:os";

/** What an engine can do for us, found out once. Plain data. */
export interface EngineFacts {
  readonly cpuMilli: number;
  readonly memoryMib: number;
  /** Size of the file system that holds the sandboxes; `undefined` when it isn't ours to see. */
  readonly diskMib: number | undefined;
  /** Limits that the engine's kernel enforces. */
  readonly limits: {
    readonly memory: boolean;
    readonly swap: boolean;
    readonly cpu: boolean;
    readonly pids: boolean;
  };
  /** False when processes in a sandbox may make any system call. */
  readonly seccomp: boolean;
  /** `hard`: a full disk is an error inside. `measured`: found from outside. */
  readonly disk: "hard" | "measured";
  /** `direct`: the bridge's addresses lead to containers. `published`: by ports on loopback. */
  readonly reach: "direct" | "published";
  /** True when a unix socket made in a sandbox can be connected to from here. */
  readonly sockets: boolean;
  /**
   * `filtered`: rules are laid. `open`: they aren't, and the operator allows it. `none`: they
   * can't be. `untried`: a helper is to lay them, and no image for one is there yet.
   */
  readonly egress: "filtered" | "open" | "none" | "untried";
  /** True when traffic can be shaped. */
  readonly bandwidth: boolean;
  /** What answers. Podman takes calls for Docker's, and some in its own way. */
  readonly engine: "docker" | "podman";
  /** Runtime asked for, `runsc` for example; `undefined` = the engine's default. */
  readonly runtime: string | undefined;
}

/** The part of the engine's `GET /info` that counts here. */
export interface EngineInfo {
  readonly NCPU: number;
  readonly MemTotal: number;
  readonly MemoryLimit?: boolean;
  readonly SwapLimit?: boolean;
  readonly CpuCfsQuota?: boolean;
  readonly PidsLimit?: boolean;
  readonly OperatingSystem: string;
  readonly KernelVersion: string;
  readonly DockerRootDir: string;
  readonly Driver: string;
  readonly DriverStatus?: readonly (readonly string[])[] | null;
  readonly SecurityOptions?: readonly string[] | null;
}

/** Where the engine runs, seen from this server. */
export interface Nearness {
  /** True when it runs on this kernel: files and unix sockets are shared. */
  readonly sameKernel: boolean;
  /** True when its bridge is in this server's network. */
  readonly sameNetwork: boolean;
}

/**
 * Looks where the engine runs.
 *
 * @param isUnixSocket True when it is reached by a socket in the file system.
 * @param isBridgeHere True when its bridge is in this server's network.
 */
export function nearnessOf(
  info: EngineInfo,
  isUnixSocket: boolean,
  isBridgeHere: boolean,
): Nearness {
  const sameKernel =
    isUnixSocket &&
    info.KernelVersion === release() &&
    !info.OperatingSystem.includes("Docker Desktop");
  return { sameKernel, sameNetwork: sameKernel && isBridgeHere };
}

/** What was tried out, beside what the engine says of itself. */
export interface Probes {
  readonly nearness: Nearness;
  readonly engine: EngineFacts["engine"];
  readonly egress: EngineFacts["egress"];
  readonly forcePublished: boolean;
  readonly canLimitBandwidth: boolean;
  readonly canLimitDisk: boolean;
  readonly runtime: string | undefined;
}

/** Puts together what is known. */
export function factsOf(info: EngineInfo, probes: Probes): EngineFacts {
  const { nearness, forcePublished } = probes;
  const options = info.SecurityOptions ?? [];
  const isRootless = options.some((option) => option.includes("name=rootless"));
  const isPublished = forcePublished || isRootless || !nearness.sameNetwork;
  return {
    cpuMilli: info.NCPU * 1000,
    memoryMib: Math.floor(info.MemTotal / MIB),
    diskMib: nearness.sameKernel ? diskMibOf(info.DockerRootDir) : undefined,
    limits: {
      memory: info.MemoryLimit === true,
      swap: info.SwapLimit === true,
      cpu: info.CpuCfsQuota === true,
      pids: info.PidsLimit === true && !isGvisor(probes.runtime),
    },
    seccomp: options.some((option) => option.includes("name=seccomp")),
    disk: probes.canLimitDisk ? "hard" : "measured",
    reach: isPublished ? "published" : "direct",
    sockets: nearness.sameKernel,
    engine: probes.engine,
    egress: probes.egress,
    bandwidth: probes.canLimitBandwidth && !isPublished,
    runtime: probes.runtime,
  };
}

/**
 * True when it is worth trying whether the engine bounds a container's disk. Source: the engine's
 * documentation of `--storage-opt`, read 2026-11-25: btrfs, zfs, and overlay2 over xfs with pquota.
 */
export function mayLimitDisk(info: EngineInfo): boolean {
  const files = info.DriverStatus?.find(([key]) => key === "Backing Filesystem")?.[1];
  if (info.Driver === "overlay2" || info.Driver === "overlay") return files === "xfs";
  return info.Driver === "btrfs" || info.Driver === "zfs";
}

/** True for the names that gVisor's runtime goes by. */
export function isGvisor(runtime: string | undefined): boolean {
  return runtime?.includes("runsc") ?? false;
}

const MIB = 1024 * 1024;

function diskMibOf(folder: string): number | undefined {
  try {
    const { blocks, bsize } = statfsSync(folder);
    return Math.floor((blocks * bsize) / MIB);
  } catch {
    // Another user's folder: its size stays unknown.
    return undefined;
  }
}
