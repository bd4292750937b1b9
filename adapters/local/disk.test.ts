import { statSync } from "node:fs";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { baseImages, diskKindIn, tmpfsOptions } from "./disk.ts";

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "soulbox-disk-"));
  await mkdir(join(dir, "skeleton"));
  await writeFile(join(dir, "skeleton/file"), "text");
});
afterEach(() => rm(dir, { recursive: true, force: true }));

describe("tmpfsOptions", () => {
  it("gives the disk's size, as far as a limited memory leaves room beside it", () => {
    expect(tmpfsOptions(100, undefined)).toMatch(/^size=100m,nr_inodes=16384,/);
    expect(tmpfsOptions(100, 512)).toMatch(/^size=100m,/);
    expect(tmpfsOptions(10_240, 512)).toMatch(/^size=384m,nr_inodes=24576,/);
  });
});

describe("diskKindIn", () => {
  it("leaves nothing of its try", async () => {
    expect(["image", "memory"]).toContain(diskKindIn(dir));
    expect(await readdir(dir)).toEqual(["skeleton"]);
  });
});

describe("baseImages", () => {
  it("makes a sparse image once for all who ask, and again when it is gone", async ({ skip }) => {
    if (diskKindIn(dir) !== "image") return skip("no images here");
    const images = baseImages(dir);
    const skeleton = join(dir, "skeleton");

    const paths = await Promise.all([1, 2, 3].map(() => images.find(skeleton, 64)));
    const [path = ""] = paths;
    const { size, blocks } = statSync(path);
    await rm(path);
    const again = await images.find(skeleton, 64);

    expect(new Set([...paths, again]).size).toBe(1);
    expect(size).toBeGreaterThan(64 * 1024 * 1024);
    expect(512 * blocks).toBeLessThan(8 * 1024 * 1024);
    expect(statSync(again).size).toBe(size);
  });

  it("keeps a few sizes, and none of an earlier server", async ({ skip }) => {
    if (diskKindIn(dir) !== "image") return skip("no images here");
    const images = baseImages(dir);
    for (let sizeMib = 8; sizeMib < 18; sizeMib += 1) {
      await images.find(join(dir, "skeleton"), sizeMib);
    }

    expect((await readdir(dir)).filter((name) => name.endsWith(".ext4"))).toHaveLength(8);
    baseImages(dir);
    expect(await readdir(dir)).toEqual(["skeleton"]);
  });
});
