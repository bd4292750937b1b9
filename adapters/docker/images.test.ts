import { mkdir, mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Template } from "@soulbox/core";
import Dockerode from "dockerode";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { hasImage } from "./base-image.ts";
import { readRecipe } from "./image-build.ts";
import { createImages, type Images, type ImagesOptions } from "./images.ts";

const docker = new Dockerode();
const never = new AbortController().signal;

let folder: string;
let nowMs: number;
let log: string[];
let opened: Images[];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "soulbox-images-"));
  nowMs = 0;
  log = [];
  opened = [];
});

afterEach(async () => {
  for (const images of opened) await images.close();
  await removeImages();
  await rm(folder, { recursive: true, force: true });
});

/** Those of this test, with the layers that failed builds leave. */
async function removeImages(): Promise<void> {
  const filters = { label: [`folder=${folder}`] };
  // The engine needs a moment to end the container of a build that was given up.
  for (const { Id } of await docker.listContainers({ all: true, filters })) {
    await docker
      .getContainer(Id)
      .remove({ force: true })
      .catch(() => {});
    await docker
      .getContainer(Id)
      .wait({ condition: "removed" })
      .catch(() => {});
  }
  const made = await docker.listImages({ filters });
  for (const { Id } of made) await docker.getImage(Id).remove({ force: true });
}

const ID = "images-test";
const tiny = templateOf({});

function templateOf(args: Record<string, string>): Template {
  const resources = { cpuMilli: 1000, memoryMib: 128, diskMib: 1024 };
  return { id: ID, names: [ID], folder: "tiny", args, resources };
}

async function writeDockerfile(...lines: string[]): Promise<void> {
  await mkdir(join(folder, "tiny"), { recursive: true });
  // The folder's name makes every test's content, and so its image, its own.
  const label = `LABEL soulbox.template=${ID} folder=${folder}`;
  const content = ["FROM debian:trixie-slim", label, ...lines, ""];
  await writeFile(join(folder, "tiny", "Dockerfile"), content.join("\n"));
}

function open(options: Partial<ImagesOptions> = {}): Images {
  const images = createImages({
    docker,
    imagesDir: folder,
    cacheDir: join(folder, "cache"),
    log: (line) => log.push(line),
    nowMs: () => nowMs,
    ...options,
  });
  opened.push(images);
  return images;
}

const ensure = (images: Images) => images.ensure(tiny, () => {}, never);
const buildsSeen = () => log.filter((line) => line.includes("step 1/")).length;

describe("image names", () => {
  it("are the same for the same content", async () => {
    await writeDockerfile("RUN true");

    const names = [1, 2].map(() => readRecipe(folder, tiny).image);

    expect(names[0]).toMatch(/^soulbox\/images-test:[0-9a-f]{12}$/);
    expect(names[1]).toBe(names[0]);
  });

  it("change with the Dockerfile, with any other file, with arguments and with the parent", async () => {
    const parented = { id: "child", folder: "child", args: {} };
    await mkdir(join(folder, "child"));
    await writeFile(join(folder, "child", "Dockerfile"), "ARG PARENT=soulbox/tiny\nFROM $PARENT\n");
    const names: string[] = [];
    const collect = () =>
      names.push(readRecipe(folder, tiny).image, readRecipe(folder, parented).image);

    await writeDockerfile("RUN true");
    collect();
    await writeDockerfile("RUN false");
    collect();
    await writeFile(join(folder, "tiny", "other"), "content");
    collect();
    names.push(readRecipe(folder, templateOf({ MAJOR: "1" })).image);

    expect(new Set(names).size).toBe(7);
  });
});

describe("images", () => {
  it("builds once for all who wait, and answers from memory afterwards", async () => {
    await writeDockerfile("RUN sleep 1");
    const images = open();
    const lines: string[] = [];

    const first = images.prepare(tiny);
    const waited = await Promise.all([
      ensure(images),
      images.ensure(tiny, (line) => lines.push(line), never),
    ]);

    expect(first).toMatchObject({ state: "building", detail: `building ${ID}` });
    expect(waited[1]).toBe(waited[0]);
    expect(buildsSeen()).toBe(1);
    expect(lines).toContain(`building ${ID}: step 3/4 RUN sleep 1`);
    expect(images.prepare(tiny)).toEqual({ state: "ready", image: waited[0] });
  });

  it("takes an image that the engine has already", async () => {
    await writeDockerfile();
    const image = await ensure(open());
    const later = open();
    const loaded = open();

    await loaded.load();

    expect(await ensure(later)).toBe(image);
    expect(buildsSeen()).toBe(1);
    expect(loaded.prepare(tiny)).toEqual({ state: "ready", image });
  });

  it("tells the failing step with its last lines, remembers it for 30 s and then tries again", async () => {
    await writeDockerfile("RUN echo the reason && exit 7");
    const images = open();

    await expect(ensure(images)).rejects.toThrow(
      /failed at step 3\/4 RUN echo the reason[\s\S]*code: 7[\s\S]*\nthe reason$/,
    );
    nowMs = 29_999;
    await expect(ensure(images)).rejects.toThrow("code: 7");
    expect(images.prepare(tiny)).toMatchObject({ state: "failed" });
    expect(buildsSeen()).toBe(1);

    nowMs = 30_000;
    expect(images.prepare(tiny)).toMatchObject({ state: "building" });
    await expect(ensure(images)).rejects.toThrow("code: 7");
    expect(buildsSeen()).toBe(2);
  });

  it("builds again what was forgotten because it vanished", async () => {
    await writeDockerfile();
    const images = open();
    const image = await ensure(images);
    await docker.getImage(image).remove({ force: true });

    images.forget(image);

    expect(images.prepare(tiny)).toMatchObject({ state: "building" });
    expect(await ensure(images)).toBe(image);
    expect(await hasImage(docker, image)).toBe(true);
  });

  it("ends the wait of a caller who gives up, not the build", async () => {
    await writeDockerfile("RUN sleep 1");
    const images = open();
    const caller = new AbortController();

    const wait = images.ensure(tiny, () => caller.abort(new Error("gave up")), caller.signal);

    await expect(wait).rejects.toThrow("gave up");
    expect(images.prepare(tiny)).toMatchObject({ state: "building" });
    expect(await ensure(images)).toMatch(/^soulbox\//);
    expect(buildsSeen()).toBe(1);
  });

  it("ends a build at its deadline", async () => {
    await writeDockerfile("RUN sleep 60");

    await expect(ensure(open({ deadlineMs: 1500 }))).rejects.toThrow("not done within 1.5 s");
  });

  it("ends running builds when it is closed", async () => {
    await writeDockerfile("RUN sleep 60");
    const images = open();
    const begun = Promise.withResolvers<void>();
    const wait = images.ensure(tiny, (line) => line.includes("sleep") && begun.resolve(), never);
    wait.catch(() => {});
    await begun.promise;

    await images.close();

    await expect(wait).rejects.toThrow("the server is stopping");
  });

  it("refuses a damaged archive in its cache and takes it away", async () => {
    await writeDockerfile("COPY vendor/ /usr/local/");
    const { Arch } = await docker.version();
    const node = join(folder, "cache", `node-linux-${Arch === "amd64" ? "x64" : Arch}@0.tgz`);
    await mkdir(join(folder, "cache"));
    await writeFile(node, "not an archive");
    await writeFile(join(folder, "cache", "npm@0.tgz"), "not an archive");
    const template = templateOf({ NODE_MAJOR: "0", NPM_MAJOR: "0" });

    const wait = open().ensure(template, () => {}, never);

    await expect(wait).rejects.toThrow(/failed at its context: incorrect header check/);
    await expect(stat(node)).rejects.toMatchObject({ code: "ENOENT" });
  });
});
