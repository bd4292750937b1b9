import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync, readdirSync } from "node:fs";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import type { LaunchRequest } from "@soulbox/core";
import { AGENT_ENV } from "@soulbox/protocol";
import { PIDS_MAX } from "./cgroup.ts";
import { EnterFailed } from "./faults.ts";
import {
  type FilterLoader,
  type LocalProbe,
  perlFilterArgs,
  textOf,
  unshareArgs,
} from "./probe.ts";
import { SANDBOX_PATH, SOCKET_INSIDE } from "./rootfs.ts";
import { USER_ID } from "./skeleton.ts";
import { readOrUndefined } from "./state.ts";

/**
 * What the whole tree may ever have. Docker's default list without making device nodes, raw
 * sockets, chroot, file and bounding-set capabilities, and audit records.
 */
const CAPABILITIES = [
  "chown",
  "dac_override",
  "fowner",
  "fsetid",
  "kill",
  "setgid",
  "setuid",
  "net_bind_service",
];

/** Room for the agent's socket and log, and no more. */
const RUN_OPTIONS = "size=64k,nr_inodes=16,mode=0700,nosuid,nodev,noexec";

const ENTER = fileURLToPath(new URL("./enter.sh", import.meta.url));
const FILTER = "/.soulbox/filter";

/** How sandboxes are started on this machine, the same for each. */
export interface EnterPlan {
  readonly probe: LocalProbe;
  readonly filter: FilterLoader | undefined;
  /** True when setuid programs, `sudo` for one, may give privileges. */
  readonly mayGain: boolean;
  /** Where the new root gets mounted, in the sandbox's own mount namespace. */
  readonly root: string;
}

/** What is started. */
export interface EnterTarget {
  /** The launch's directory. */
  readonly dir: string;
  /** Where its agent's socket will be. */
  readonly runDir: string;
  /** Its control groups. */
  readonly cgroups: readonly string[];
  readonly disk: Disk;
  readonly request: Pick<LaunchRequest, "launchId" | "agentEnv">;
}

/** What the sandbox's root is made of. */
export interface Disk {
  /** A skeleton, to be copied into a tmpfs, or an image, to be copied and mounted. */
  readonly source: string;
  /** Options of the mount. */
  readonly options: string;
}

/**
 * Starts the process tree of a launch whose directory and groups exist. It lives in a session of
 * its own, holds nothing of this process, and survives it.
 *
 * @param stop Kills what has been started so far; `ready` then rejects.
 * @returns When all is mounted and the agent takes over.
 * @throws EnterFailed when the tree has ended before that.
 */
export async function enter(
  plan: EnterPlan,
  target: EnterTarget,
  stop: AbortSignal,
): Promise<void> {
  stop.throwIfAborted();
  const { dir, request } = target;
  const log = openSync(join(dir, "log"), "a", 0o600);
  let child: ChildProcess;
  try {
    child = spawn("sh", [ENTER, ...enterArgs(plan, target)], {
      cwd: "/",
      detached: true,
      stdio: ["ignore", "ignore", log, "pipe", ...plugs()],
      env: agentEnvironment(request),
    });
  } finally {
    closeSync(log);
  }
  const kill = () => void child.kill("SIGKILL");
  stop.addEventListener("abort", kill);
  try {
    const how = await readyOrEnd(child);
    if (how === undefined) return;
    const output = (await readOrUndefined(join(dir, "log"))) ?? "";
    throw new EnterFailed(request.launchId, how, output.trim().slice(-OUTPUT_MAX));
  } finally {
    stop.removeEventListener("abort", kill);
    // The sandbox's end is observed from its files, as it is for one that another server started.
    child.unref();
  }
}

/**
 * Plugs for descriptors that this process was born with and that the next one would inherit: what
 * Node opens itself closes on exec, a parent's leak doesn't, and it may lead out of the sandbox.
 */
function plugs(): ("ignore" | number)[] {
  const born = readdirSync("/proc/self/fd").map(Number);
  const leaks = born.filter((fd) => fd > READY_FD && isInherited(fd));
  const plugged: ("ignore" | number)[] = [];
  for (let fd = READY_FD + 1; fd <= Math.max(...leaks, 0); fd += 1) {
    plugged.push(leaks.includes(fd) ? nullFd() : "ignore");
  }
  return plugged;
}

function isInherited(fd: number): boolean {
  const [, flags] = /^flags:\s+(\d+)$/m.exec(textOf(`/proc/self/fdinfo/${fd}`)) ?? [];
  return flags !== undefined && (Number.parseInt(flags, 8) & O_CLOEXEC) === 0;
}

/** The descriptor that stands for /dev/null in this process, opened once. */
function nullFd(): number {
  openNull ??= openSync("/dev/null", "r+");
  return openNull;
}

let openNull: number | undefined;

/** Fd of the pipe on which `enter.sh` says "ready". */
const READY_FD = 3;
/** Source: linux/fcntl.h, the same on x86-64 and arm64. */
const O_CLOEXEC = 0o2000000;

/** Waits for the word; says how the process ended when it ended without it. */
function readyOrEnd(child: ChildProcess): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    const pipe = child.stdio[READY_FD] as Readable;
    child.once("error", reject);
    pipe.once("error", reject);
    pipe.once("data", () => {
      pipe.destroy();
      resolve(undefined);
    });
    // Its end comes when the last process that could say it has gone, or said something else.
    child.once("close", (code, signal) => resolve(signal ?? `exit ${code}`));
  });
}

/** How much of a failed start's log is repeated, characters. */
const OUTPUT_MAX = 2000;

/** What the agent is started with, and the tools before it. */
function agentEnvironment({ agentEnv }: Pick<LaunchRequest, "agentEnv">) {
  return {
    LC_ALL: "C",
    ...agentEnv,
    PATH: SANDBOX_PATH,
    HOME: "/root",
    LANG: "C.UTF-8",
    [AGENT_ENV.listen]: `unix:${SOCKET_INSIDE}`,
  };
}

/** Arguments of `enter.sh`, in its order. */
function enterArgs(plan: EnterPlan, target: EnterTarget): readonly string[] {
  const { probe, root } = plan;
  const { identity, cgroups, loopback } = probe;
  const { dir, runDir, disk } = target;
  const run = identity === "root" ? RUN_OPTIONS : "0";
  // Version 1 moves a thread that moves itself without waiting for the whole machine (14 ms saved).
  const file = cgroups.version === 1 ? "tasks" : "cgroup.procs";
  const procs = target.cgroups.map((group) => join(group, file));
  const owner = identity === "mapped" ? `${USER_ID}:${USER_ID}` : "0";
  return [
    ...["outer", dir, runDir, run, ...procs, "--", ...unshareArgs(identity)],
    ...["sh", ENTER, "inner", dir, root, disk.source, disk.options],
    ...[loopback, owner, identity === "root" ? "0" : "1", ...confinement(plan)],
  ];
}

/** The command that takes privileges away and runs what follows. */
function confinement({ probe, filter, mayGain }: EnterPlan): readonly string[] {
  // A limit per user: counts in all sandboxes together, unless each has users of its own.
  const hasOwnUsers = probe.identity !== "root";
  const perUser = hasOwnUsers && probe.cgroups.parents.pids === undefined;
  return [
    ...(perUser ? ["prlimit", `--nproc=${PIDS_MAX}:${PIDS_MAX}`] : []),
    ...(filter === "perl" ? ["perl", ...perlFilterArgs(FILTER)] : []),
    "setpriv",
    "--bounding-set",
    ["-all", ...CAPABILITIES.map((name) => `+${name}`)].join(","),
    "--inh-caps",
    "-all",
    // With a single user the kernel forbids to change groups.
    ...(probe.identity === "single" ? [] : ["--clear-groups"]),
    ...(mayGain ? [] : ["--no-new-privs"]),
    ...(filter === "setpriv" ? ["--seccomp-filter", FILTER] : []),
  ];
}
