import { spawnSync } from "node:child_process";
import { accessSync, constants, existsSync, readdirSync, readFileSync } from "node:fs";
import { availableParallelism, totalmem } from "node:os";
import { join } from "node:path";
import { type Cgroups, findCgroups } from "./cgroup.ts";
import type { RootfsPlan } from "./rootfs.ts";
import { SANDBOX_PATH } from "./rootfs.ts";
import { seccompFilter } from "./seccomp.ts";

/** How a filter of system calls gets loaded: `setpriv` forbids new privileges along with it. */
export type FilterLoader = "setpriv" | "perl";
/** What brings the loopback device up: no tool of util-linux does. */
export type LoopbackTool = "ip" | "ifconfig" | "perl" | "none";

/** What this machine lets us do, found out by doing it. */
export interface LocalProbe {
  /** Why there can be no sandboxes at all, in one sentence. */
  readonly refused: string | undefined;
  readonly identity: RootfsPlan["identity"];
  readonly cgroups: Cgroups;
  readonly loopback: LoopbackTool;
  readonly filterLoaders: readonly FilterLoader[];
  /** True when the host has a `sudo` that a sandbox can use. */
  readonly hasSudo: boolean;
  /** True when the host swaps but its groups don't count that. */
  readonly swapIsFree: boolean;
  readonly host: { readonly cpuMilli: number; readonly memoryMib: number };
}

/** Environment of the host's tools: plain messages, nothing of the server's. */
export const TOOL_ENV: Readonly<Record<string, string>> = { PATH: SANDBOX_PATH, LC_ALL: "C" };

/** Namespaces of every sandbox. The user namespace comes first where there is one. */
const NAMESPACES = ["--mount", "--pid", "--net", "--ipc", "--uts", "--cgroup"];
const USER_NAMESPACE: Readonly<Record<RootfsPlan["identity"], readonly string[]>> = {
  root: [],
  mapped: ["--user", "--map-root-user", "--map-auto"],
  single: ["--user", "--map-root-user"],
};

/** Arguments of `unshare`, up to the program. The child dies with its parent. */
export function unshareArgs(identity: RootfsPlan["identity"]): readonly string[] {
  return [...USER_NAMESPACE[identity], ...NAMESPACES, "--fork", "--kill-child"];
}

/** Tries what a sandbox needs. Takes some 50 ms of forks; ask once. Never throws. */
export function probeLocal(): LocalProbe {
  const isRoot = process.geteuid?.() === 0;
  const candidates = isRoot ? (["root"] as const) : (["mapped", "single"] as const);
  const failures: string[] = [];
  const identity = candidates.find((it) => {
    const failure = tryNamespaces(it);
    if (failure !== undefined) failures.push(failure);
    return failure === undefined;
  });
  const cgroups = findCgroups(textOf("/proc/self/mountinfo"), textOf("/proc/self/cgroup"));
  return {
    refused: identity === undefined ? refusal(isRoot, failures.at(-1) ?? "") : undefined,
    identity: identity ?? "single",
    cgroups,
    loopback: (["ip", "ifconfig", "perl"] as const).find(hasTool) ?? "none",
    filterLoaders: identity === undefined ? [] : filterLoaders(),
    hasSudo: isRoot && existsSync("/usr/bin/sudo"),
    swapIsFree: swapIsFree(cgroups),
    host: hostSize(),
  };
}

/** Mounts below the host's /usr: a bind of /usr alone would show what lies under them. */
export function usrMounts(mountinfo: string): readonly string[] {
  const paths = mountinfo.split("\n").map((line) => line.split(" ")[4] ?? "");
  return [...new Set(paths.filter((path) => path.startsWith("/usr/")))];
}

/** Names in the host's /etc. */
export function etcNames(): readonly string[] {
  return readdirSync("/etc");
}

/** The text of a file, empty when it can't be read. */
export function textOf(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

/** Makes the namespaces, mounts in them, and gives up capabilities, as a sandbox does. */
function tryNamespaces(identity: RootfsPlan["identity"]): string | undefined {
  // /mnt is there on every Linux; only this namespace sees the mounts.
  const script =
    "mount -n -t tmpfs soulbox /mnt && mkdir /mnt/proc /mnt/usr && " +
    "mount -n -t proc proc /mnt/proc && mount -n --bind -o ro /usr /mnt/usr && " +
    "exec setpriv --bounding-set -all,+chown true";
  const args = [...unshareArgs(identity), "sh", "-c", script];
  const { status, error, stderr } = spawnSync("unshare", args, { env: TOOL_ENV, timeout: 10_000 });
  if (status === 0) return undefined;
  return error?.message ?? (stderr.toString().trim().split("\n").at(-1) || `exit ${status}`);
}

function refusal(isRoot: boolean, failure: string): string {
  const why = isRoot
    ? "namespaces can't be made even as root, as inside most containers"
    : "this user may not make user namespaces (see kernel.unprivileged_userns_clone, " +
      "kernel.apparmor_restrict_unprivileged_userns and user.max_user_namespaces)";
  return `There are no local sandboxes on this machine: ${why}; it said "${failure}".`;
}

function filterLoaders(): readonly FilterLoader[] {
  const filter = seccompFilter(process.arch);
  if (filter === undefined) return [];
  const loads = (...command: readonly string[]): boolean => {
    // Node's own pipes are sockets, which can't be opened by name.
    const args = ["-c", 'cat | "$@"', "sh", ...command, "true"];
    return spawnSync("sh", args, { env: TOOL_ENV, input: filter, timeout: 10_000 }).status === 0;
  };
  const loaders: FilterLoader[] = loads("setpriv", "--seccomp-filter", "/dev/stdin")
    ? ["setpriv"]
    : [];
  const isRoot = process.geteuid?.() === 0;
  return isRoot && loads("perl", ...perlFilterArgs("/dev/stdin")) ? [...loaders, "perl"] : loaders;
}

/**
 * Arguments of `perl` that load the filter in a file and run what follows. Unlike `setpriv` it
 * leaves new privileges alone, which takes CAP_SYS_ADMIN: prctl(PR_SET_SECCOMP = 22,
 * SECCOMP_MODE_FILTER = 2) with a `struct sock_fprog`.
 */
export function perlFilterArgs(path: string): readonly string[] {
  const prctl = process.arch === "x64" ? 157 : 167;
  const script = `open F, "<", shift or die "filter: $!"; binmode F; local $/; $f = <F>; close F;
    syscall(${prctl}, 22, 2, pack("S x![P] P", length($f) / 8, $f)) == 0 or die "seccomp: $!";
    exec @ARGV or die "exec: $!";`;
  return ["-e", script, path];
}

function hasTool(name: string): boolean {
  return SANDBOX_PATH.split(":").some((dir) => isExecutable(join(dir, name)));
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function swapIsFree({ version, parents }: Cgroups): boolean {
  if (textOf("/proc/swaps").trim().split("\n").length < 2 || parents.memory === undefined)
    return false;
  // The root group of version 2 has no limits of its own: only a child shows whether swap counts.
  return version === 1 && !existsSync(join(parents.memory, "memory.memsw.limit_in_bytes"));
}

function hostSize(): LocalProbe["host"] {
  const bytes = Math.min(totalmem(), process.constrainedMemory() || Number.POSITIVE_INFINITY);
  return { cpuMilli: 1000 * availableParallelism(), memoryMib: Math.floor(bytes / 1024 / 1024) };
}
