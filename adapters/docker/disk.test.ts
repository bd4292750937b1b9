import { describe, expect, it } from "vitest";
import { createDiskWatch } from "./disk.ts";

describe("createDiskWatch", () => {
  function watch(sizes: Record<string, number>) {
    const asked: string[] = [];
    let nowMs = 0;
    const measure = async (key: string) => {
      asked.push(key);
      const size = sizes[key];
      if (size === undefined) throw new Error("gone");
      return size;
    };
    const disk = createDiskWatch<string>({ measure, nowMs: () => nowMs });
    const pass = (ms: number) => {
      nowMs += ms;
    };
    return { disk, asked, pass };
  }

  it("knows sizes after a round, and nothing before", async () => {
    const { disk } = watch({ a: 10, b: 20, c: 30 });

    const before = disk.sizeBytes("a");
    disk.refresh(["a", "b", "c"]);
    await disk.settled();

    expect(before).toBeUndefined();
    expect(["a", "b", "c"].map((key) => disk.sizeBytes(key))).toEqual([10, 20, 30]);
  });

  it("measures at most every 30 s", async () => {
    const { disk, asked, pass } = watch({ a: 10 });
    disk.refresh(["a"]);
    await disk.settled();

    pass(29_999);
    disk.refresh(["a"]);
    await disk.settled();
    const early = asked.length;
    pass(1);
    disk.refresh(["a"]);
    await disk.settled();

    expect(early).toBe(1);
    expect(asked).toEqual(["a", "a"]);
  });

  it("goes on past an instance that can't be measured, and forgets those that are gone", async () => {
    const { disk, pass } = watch({ a: 10, c: 30 });
    disk.refresh(["a", "gone", "c"]);
    await disk.settled();
    const found = disk.sizeBytes("c");

    pass(30_000);
    disk.refresh(["a"]);
    await disk.settled();

    expect(found).toBe(30);
    expect(disk.sizeBytes("c")).toBeUndefined();
    expect(disk.sizeBytes("a")).toBe(10);
  });
});
