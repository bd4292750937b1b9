import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { mkdir, readFile, rmdir, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { Resources } from "@soulbox/core";
import { hasErrno } from "./faults.ts";

/** What a group can govern. */
export type Controller = "memory" | "cpu" | "pids" | "freezer";

/** Where the sandboxes' groups are made. */
export interface Cgroups {
  readonly version: 1 | 2;
  /** The parent group per controller, an absolute path; absent = may not or can't. */
  readonly parents: Readonly<Partial<Record<Controller, string>>>;
}

/** Processes and threads of one sandbox, the shell that reaps included. Room for a compiler. */
export const PIDS_MAX = 1024;

/** CPU time is dealt out per this long, microseconds: the kernel's default. */
const PERIOD_US = 100_000;

const V1: readonly Controller[] = ["memory", "cpu", "pids", "freezer"];
/** The core of version 2 freezes; that takes no controller. */
const V2_CONTROLLERS = ["memory", "cpu", "pids"] as const;

/**
 * Finds where this process may make groups, by making one: first below its own group, so that
 * sandboxes stay within what the server itself may use, then further up.
 *
 * @param mountinfo Text of `/proc/self/mountinfo`.
 * @param own Text of `/proc/self/cgroup`.
 */
export function findCgroups(mountinfo: string, own: string): Cgroups {
  const mounts = cgroupMounts(mountinfo);
  const groups = ownGroups(own);
  if (mounts.some((it) => it.controllers.includes("memory"))) {
    const parents: Partial<Record<Controller, string>> = {};
    for (const controller of V1) {
      const mount = mounts.find((it) => it.controllers.includes(controller));
      if (mount === undefined) continue;
      const path = groups.get(controller) ?? "/";
      const parent = ancestry(mount, path).find((it) => canUse(1, it, [controller]));
      if (parent !== undefined) parents[controller] = parent;
    }
    return { version: 1, parents };
  }
  const unified = mounts.find((it) => it.isUnified);
  if (unified === undefined) return { version: 2, parents: {} };
  const candidates = ancestry(unified, groups.get("") ?? "/");
  const wants = [
    [...V2_CONTROLLERS, "freezer"],
    ["memory", "pids", "freezer"],
    ["freezer"],
  ] as const;
  for (const want of wants) {
    const parent = candidates.find((it) => canUse(2, it, want));
    if (parent === undefined) continue;
    return { version: 2, parents: Object.fromEntries(want.map((it) => [it, parent])) };
  }
  return { version: 2, parents: {} };
}

/** Paths of a launch's groups, one per hierarchy, and the one that freezes. */
export function groupsOf(
  { parents }: Cgroups,
  launchId: string,
): { readonly dirs: readonly string[]; readonly freezer: string | undefined } {
  const at = (parent: string) => join(parent, `soulbox-${launchId}`);
  const dirs = [...new Set(Object.values(parents))].map(at);
  return { dirs, freezer: parents.freezer === undefined ? undefined : at(parents.freezer) };
}

/** Makes a launch's groups with their limits. Repeatable. */
export async function makeGroups(
  cgroups: Cgroups,
  dirs: readonly string[],
  resources: Resources,
): Promise<void> {
  for (const dir of dirs) {
    await mkdir(dir, { recursive: true });
    for (const [file, value] of knobs(cgroups.version, resources)) {
      // A hierarchy has the files of its own controllers only; swap may not be counted at all.
      if (existsSync(join(dir, file))) await writeFile(join(dir, file), value);
    }
  }
}

/** The limits as file contents, in the order in which they must be written. */
export function knobs(
  version: 1 | 2,
  { cpuMilli, memoryMib }: Resources,
): readonly (readonly [file: string, value: string])[] {
  const bytes = String(memoryMib * 1024 * 1024);
  const quotaUs = String(Math.round((cpuMilli * PERIOD_US) / 1000));
  if (version === 2) {
    return [
      ["memory.max", bytes],
      ["memory.swap.max", "0"],
      ["cpu.max", `${quotaUs} ${PERIOD_US}`],
      ["pids.max", String(PIDS_MAX)],
    ];
  }
  return [
    ["memory.limit_in_bytes", bytes],
    // Memory and swap together: no swap beyond the memory. May not be below the line above.
    ["memory.memsw.limit_in_bytes", bytes],
    ["cpu.cfs_period_us", String(PERIOD_US)],
    ["cpu.cfs_quota_us", quotaUs],
    ["pids.max", String(PIDS_MAX)],
  ];
}

/** Asks the kernel to freeze or thaw; {@link isFrozen} tells when it has. */
export async function setFrozen(freezer: string, frozen: boolean): Promise<void> {
  if (existsSync(join(freezer, "freezer.state"))) {
    await writeFile(join(freezer, "freezer.state"), frozen ? "FROZEN" : "THAWED");
  } else {
    await writeFile(join(freezer, "cgroup.freeze"), frozen ? "1" : "0");
  }
}

/** True once every process of the group stands still. */
export async function isFrozen(freezer: string): Promise<boolean> {
  for (const [file, pattern] of FROZEN) {
    try {
      return pattern.test(await readFile(join(freezer, file), "utf8"));
    } catch (error) {
      if (!hasErrno(error, "ENOENT", "ENODEV")) throw error;
    }
  }
  return false;
}

const FROZEN = [
  ["freezer.state", /^FROZEN/],
  ["cgroup.events", /^frozen 1$/m],
] as const;

/** Pids of everything in a group, as the host numbers them; none when there is no group. */
export async function membersOf(dir: string): Promise<readonly number[]> {
  try {
    const text = await readFile(join(dir, "cgroup.procs"), "utf8");
    return text.split("\n").filter(Boolean).map(Number);
  } catch (error) {
    if (hasErrno(error, "ENOENT", "ENODEV")) return [];
    throw error;
  }
}

/** Removes a group. True when it is gone, false while something still lives in it. */
export async function removeGroup(dir: string): Promise<boolean> {
  try {
    await rmdir(dir);
    return true;
  } catch (error) {
    if (hasErrno(error, "ENOENT")) return true;
    if (hasErrno(error, "EBUSY")) return false;
    throw error;
  }
}

interface CgroupMount {
  readonly root: string;
  readonly path: string;
  readonly isUnified: boolean;
  readonly controllers: readonly string[];
}

function cgroupMounts(mountinfo: string): readonly CgroupMount[] {
  return mountinfo.split("\n").flatMap((line) => {
    const [before, after] = line.split(" - ");
    const [, , , root = "/", path = ""] = before?.split(" ") ?? [];
    const [type, , options = ""] = after?.split(" ") ?? [];
    if (type !== "cgroup" && type !== "cgroup2") return [];
    return [{ root, path, isUnified: type === "cgroup2", controllers: options.split(",") }];
  });
}

/** Own group by controller; version 2 has no name for its own. */
function ownGroups(text: string): ReadonlyMap<string, string> {
  const groups = text.split("\n").flatMap((line) => {
    const [, names, path] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    if (names === undefined || path === undefined) return [];
    return names.split(",").map((name) => [name, path] as const);
  });
  return new Map(groups);
}

/** The directory of a group and those above it, up to the mount. */
function ancestry(mount: CgroupMount, group: string): readonly string[] {
  const isBelow = mount.root === "/" || group.startsWith(`${mount.root}/`);
  const inside = !isBelow ? "/" : mount.root === "/" ? group : group.slice(mount.root.length);
  const dirs: string[] = [];
  for (let path = join(mount.path, inside); ; path = dirname(path)) {
    dirs.push(path.replace(/\/$/, ""));
    if (path.length <= mount.path.length + 1 || basename(path) === "") return dirs;
  }
}

const PROOF_OF: Readonly<Record<1 | 2, Readonly<Record<Controller, string>>>> = {
  1: {
    memory: "memory.limit_in_bytes",
    cpu: "cpu.cfs_quota_us",
    pids: "pids.max",
    freezer: "freezer.state",
  },
  2: { memory: "memory.max", cpu: "cpu.max", pids: "pids.max", freezer: "cgroup.freeze" },
};

/** Makes a group, writes to its files, moves a process in, and removes it. */
function canUse(version: 1 | 2, parent: string, controllers: readonly Controller[]): boolean {
  const probe = join(parent, `soulbox-probe-${process.pid}`);
  try {
    if (version === 2) enable(parent, controllers);
    mkdirSync(probe, { recursive: true });
    for (const controller of controllers) {
      const file = join(probe, PROOF_OF[version][controller]);
      writeFileSync(file, readFileSync(file, "utf8").trim());
    }
    const join0 = spawnSync("sh", ["-c", 'echo 0 >"$1"', "sh", join(probe, "cgroup.procs")]);
    return join0.status === 0;
  } catch {
    return false;
  } finally {
    if (existsSync(probe)) removeProbe(probe);
  }
}

/** Turns on what children may use. Fails where processes live beside them, unless at the root. */
function enable(parent: string, controllers: readonly Controller[]): void {
  const file = join(parent, "cgroup.subtree_control");
  const enabled = readFileSync(file, "utf8").split(/\s+/);
  const missing = controllers.filter((it) => it !== "freezer" && !enabled.includes(it));
  if (missing.length > 0) writeFileSync(file, missing.map((it) => `+${it}`).join(" "));
}

function removeProbe(probe: string): void {
  try {
    rmdirSync(probe);
  } catch (error) {
    // The probing shell may not have left the group yet; an empty group costs nothing.
    if (!hasErrno(error, "EBUSY", "ENOENT")) throw error;
  }
}
