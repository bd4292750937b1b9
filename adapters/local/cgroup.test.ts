import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  findCgroups,
  groupsOf,
  isFrozen,
  knobs,
  makeGroups,
  membersOf,
  removeGroup,
  setFrozen,
} from "./cgroup.ts";
import { textOf } from "./probe.ts";
import { SMALL } from "./testing/harness.ts";

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "soulbox-cgroup-"));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

describe("knobs", () => {
  it("limit memory without swap, CPU time and processes on version 1", () => {
    expect(knobs(1, { cpuMilli: 1500, memoryMib: 256, diskMib: 1 })).toEqual([
      ["memory.limit_in_bytes", "268435456"],
      ["memory.memsw.limit_in_bytes", "268435456"],
      ["cpu.cfs_period_us", "100000"],
      ["cpu.cfs_quota_us", "150000"],
      ["pids.max", "1024"],
    ]);
  });

  it("limit the same on version 2", () => {
    expect(knobs(2, { cpuMilli: 250, memoryMib: 64, diskMib: 1 })).toEqual([
      ["memory.max", "67108864"],
      ["memory.swap.max", "0"],
      ["cpu.max", "25000 100000"],
      ["pids.max", "1024"],
    ]);
  });
});

describe("groupsOf", () => {
  it("names one group per hierarchy, and the one that freezes", () => {
    const parents = { memory: "/m", pids: "/p", freezer: "/f" };

    expect(groupsOf({ version: 1, parents }, "x-1")).toEqual({
      dirs: ["/m/soulbox-x-1", "/p/soulbox-x-1", "/f/soulbox-x-1"],
      freezer: "/f/soulbox-x-1",
    });
  });

  it("names one group where all share a hierarchy, none where there is no right to any", () => {
    const parents = { memory: "/u", cpu: "/u", pids: "/u", freezer: "/u" };

    expect(groupsOf({ version: 2, parents }, "x-1").dirs).toEqual(["/u/soulbox-x-1"]);
    expect(groupsOf({ version: 2, parents: {} }, "x-1")).toEqual({ dirs: [], freezer: undefined });
  });
});

describe("findCgroups", () => {
  it("finds nothing where nothing is mounted, or it may not write", () => {
    expect(findCgroups("", "")).toEqual({ version: 2, parents: {} });
    const mountinfo = `30 20 0:26 / ${dir} rw - cgroup2 cgroup2 rw\n`;
    expect(findCgroups(mountinfo, "0::/user.slice\n")).toEqual({ version: 2, parents: {} });
  });

  it("freezes by version 2 of this machine", async ({ skip }) => {
    const line = textOf("/proc/self/mountinfo")
      .split("\n")
      .filter((it) => it.includes(" - cgroup2 "))
      .join("\n");
    const cgroups = findCgroups(line, textOf("/proc/self/cgroup"));
    const { dirs, freezer } = groupsOf(cgroups, `test-${process.pid}`);
    if (freezer === undefined) return skip("no right to groups of version 2 here");

    await makeGroups(cgroups, dirs, SMALL);
    await setFrozen(freezer, true);
    await expect.poll(() => isFrozen(freezer)).toBe(true);
    await setFrozen(freezer, false);
    await expect.poll(() => isFrozen(freezer)).toBe(false);

    expect(await membersOf(freezer)).toEqual([]);
    for (const group of dirs) expect(await removeGroup(group)).toBe(true);
  });
});

describe("a group", () => {
  it("gets only the files that its hierarchy has", async () => {
    const group = join(dir, "group");
    await mkdir(group);
    await writeFile(join(group, "pids.max"), "max");

    await makeGroups({ version: 1, parents: {} }, [group], SMALL);

    expect(await readFile(join(group, "pids.max"), "utf8")).toBe("1024");
    expect(existsSync(join(group, "memory.limit_in_bytes"))).toBe(false);
  });

  it("freezes by version 1's file where there is one", async () => {
    await writeFile(join(dir, "freezer.state"), "THAWED\n");

    await setFrozen(dir, true);

    expect(await isFrozen(dir)).toBe(true);
  });

  it("lists its members, and none once it is gone", async () => {
    await writeFile(join(dir, "cgroup.procs"), "12\n345\n");

    expect(await membersOf(dir)).toEqual([12, 345]);
    expect(await membersOf(join(dir, "gone"))).toEqual([]);
    expect(await removeGroup(join(dir, "gone"))).toBe(true);
    expect(await isFrozen(join(dir, "gone"))).toBe(false);
  });
});
