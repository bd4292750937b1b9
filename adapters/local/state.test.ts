import { existsSync, readFileSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  isAlive,
  launchesIn,
  markEnding,
  parseStat,
  readLaunch,
  readOrUndefined,
  reserve,
} from "./state.ts";
import { aLaunchId } from "./testing/harness.ts";

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "soulbox-state-"));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

const recordOf = (launchId = aLaunchId()) => ({
  launchId,
  labels: { a: "b" },
  bootId: "boot",
  runDir: "/run/x",
  cgroups: ["/c"],
});

describe("parseStat", () => {
  const fields = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 98765 20";

  it.each(["sh", "a b", "x) S 1 (y", ")"])("reads past a program named %j", (name) => {
    const line = `42 (${name}) ${fields}`;

    expect(parseStat(line)).toEqual({ pid: 42, start: "98765", state: "S" });
  });

  it.each(["", "void", "42 (sh", "42 (sh) S 1", "-1 (sh) S"])("makes nothing of %j", (line) => {
    expect(parseStat(line)).toBeUndefined();
  });
});

describe("isAlive", () => {
  it("knows this process, and no other one of the same pid", async () => {
    const own = parseStat(readFileSync("/proc/self/stat", "utf8"));
    if (own === undefined) return expect.unreachable();

    expect(await isAlive(own)).toBe(true);
    expect(await isAlive({ ...own, start: `${own.start}1` })).toBe(false);
    expect(await isAlive({ pid: 2 ** 22, start: "1" })).toBe(false);
  });
});

describe("reserve", () => {
  it("makes a whole directory once, and leaves no draft", async () => {
    const record = recordOf();

    const made = await Promise.all([1, 2, 3].map(() => reserve(dir, record, "fstab")));

    expect(made.toSorted()).toEqual([false, false, true]);
    expect(await readdir(dir)).toEqual([record.launchId]);
    expect(await launchesIn(dir)).toEqual([record.launchId]);
    expect((await readdir(join(dir, record.launchId))).toSorted()).toEqual([
      "fstab",
      "launch.json",
      "run",
    ]);
  });
});

describe("readLaunch", () => {
  it("gives back what was reserved", async () => {
    const record = recordOf();
    await reserve(dir, record, "");

    expect(await readLaunch(join(dir, record.launchId))).toEqual({
      record,
      claim: undefined,
      init: undefined,
      startedAtMs: undefined,
      isEnding: false,
    });
  });

  it("has nothing of a launch that never was", async () => {
    expect(await readLaunch(join(dir, "none"))).toBeUndefined();
    expect(await readOrUndefined("/proc/1073741824/stat")).toBeUndefined();
  });

  it.each(["", "{", "null", "[]", "{}", '{"launchId":1}', '"text"'])(
    "has no record in a file that says %j",
    async (text) => {
      await writeFile(join(dir, "launch.json"), text);

      expect((await readLaunch(dir))?.record).toBeUndefined();
    },
  );
});

describe("markEnding", () => {
  it("takes a launch whose process hasn't begun", async () => {
    await markEnding(dir);
    await markEnding(dir);

    expect(await readLaunch(dir)).toMatchObject({ claim: "void", isEnding: true });
  });

  it("leaves a claim that was there first", async () => {
    const own = readFileSync("/proc/self/stat", "utf8");
    await writeFile(join(dir, "claim"), own);

    await markEnding(dir);

    expect(await readFile(join(dir, "claim"), "utf8")).toBe(own);
    expect(await readLaunch(dir)).toMatchObject({ claim: { pid: process.pid }, isEnding: true });
  });

  it("does nothing for a launch that never was", async () => {
    await markEnding(join(dir, "none"));

    expect(existsSync(join(dir, "none"))).toBe(false);
    await mkdir(join(dir, "none"));
  });
});
