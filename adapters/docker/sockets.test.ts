import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createSockets } from "./sockets.ts";

const IS_ROOT = process.getuid?.() === 0;

describe("createSockets", () => {
  let dir: string;

  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), "sbx-"));
  });

  afterEach(() => rm(dir, { recursive: true }));

  for (const isRoot of IS_ROOT ? [true, false] : [false]) {
    describe(isRoot ? "as root" : "without root", () => {
      it("makes a folder once, asked three times at once, and removes it as often", async () => {
        const sockets = createSockets(dir, isRoot);

        const paths = await Promise.all([1, 2, 3].map(() => sockets.make("one")));
        const mounts = await countMounts(join(dir, "one"));
        const there = await sockets.list();
        await Promise.all([1, 2, 3].map(() => sockets.remove("one")));

        expect(new Set(paths)).toEqual(new Set([join(dir, "one")]));
        expect(mounts).toBe(isRoot ? 1 : 0);
        expect(there).toEqual(["one"]);
        expect(await sockets.list()).toEqual([]);
        expect(await countMounts(dir)).toBe(0);
      });

      it("removes a folder that has something in it", async () => {
        const sockets = createSockets(dir, isRoot);
        const path = await sockets.make("one");
        await writeFile(join(path, "file"), "left");

        await sockets.remove("one");

        expect(await sockets.list()).toEqual([]);
      });

      it("succeeds for a folder that never was", async () => {
        await createSockets(dir, isRoot).remove("never");
      });
    });
  }

  it.runIf(IS_ROOT)("bounds what fits into a folder", async () => {
    const sockets = createSockets(dir, true);
    const path = await sockets.make("one");

    const writing = writeFile(join(path, "file"), Buffer.alloc(1_000_000));

    await expect(writing).rejects.toMatchObject({ code: "ENOSPC" });
    expect((await stat(path)).mode & 0o777).toBe(0o755);
    await sockets.remove("one");
  });

  it("lists nothing where there is no folder yet, and makes it at need", async () => {
    const sockets = createSockets(join(dir, "later"), false);

    const before = await sockets.list();
    await sockets.make("one");

    expect(before).toEqual([]);
    expect(await sockets.list()).toEqual(["one"]);
  });

  it("refuses a path that no unix socket can have", async () => {
    const sockets = createSockets(join(dir, "x".repeat(100)), false);

    await expect(sockets.make("one")).rejects.toThrow("too long for a unix socket");
  });
});

async function countMounts(path: string): Promise<number> {
  const table = await readFile("/proc/self/mountinfo", "utf8");
  return table.split("\n").filter((line) => line.includes(path)).length;
}
