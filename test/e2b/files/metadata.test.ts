import { InvalidArgumentError } from "e2b";
import { describe, expect } from "vitest";
import { freshDirectory, it, refusal, sharedSandbox } from "../fixture.ts";

const shared = sharedSandbox();
const METADATA = { author: "Ada", purpose: "notes & sums = 3" } as const;

async function freshPath(): Promise<string> {
  return `${await freshDirectory(shared.sandbox)}/file.txt`;
}

describe("file metadata", () => {
  it("is kept from an upload and told again", async () => {
    const { files } = shared.sandbox;
    const path = await freshPath();

    const written = await files.write(path, "content", { metadata: METADATA });

    expect(written.metadata).toEqual(METADATA);
    expect((await files.getInfo(path)).metadata).toEqual(METADATA);
    expect(await files.read(path)).toBe("content");
  });

  it("is kept from an upload as octet stream, its keys in lower case", async () => {
    const { files } = shared.sandbox;
    const path = await freshPath();

    const written = await files.write(path, "content", {
      metadata: { Author: "Ada" },
      useOctetStream: true,
    });

    expect(written.metadata).toEqual({ author: "Ada" });
    expect((await files.getInfo(path)).metadata).toEqual({ author: "Ada" });
  });

  it("is given to every file of one call", async () => {
    const { files } = shared.sandbox;
    const directory = await freshDirectory(shared.sandbox);
    const paths = [`${directory}/a`, `${directory}/b`];

    const written = await files.writeFiles(
      paths.map((path) => ({ path, data: path })),
      { metadata: METADATA },
    );

    expect(written.map(({ metadata }) => metadata)).toEqual([METADATA, METADATA]);
    for (const path of paths) expect((await files.getInfo(path)).metadata).toEqual(METADATA);
  });

  it("is absent when none was given", async () => {
    const { files } = shared.sandbox;
    const path = await freshPath();

    const written = await files.write(path, "content");

    expect(written.metadata).toBeUndefined();
    expect((await files.getInfo(path)).metadata).toBeUndefined();
  });

  it("shows in a list", async () => {
    const { files } = shared.sandbox;
    const directory = await freshDirectory(shared.sandbox);
    await files.write(`${directory}/a`, "", { metadata: METADATA });
    await files.write(`${directory}/b`, "");

    const listed = await files.list(directory);

    expect(listed.map(({ name, metadata }) => [name, metadata])).toEqual([
      ["a", METADATA],
      ["b", undefined],
    ]);
  });

  it("moves with its file", async () => {
    const { files } = shared.sandbox;
    const path = await freshPath();
    await files.write(path, "", { metadata: METADATA });

    const moved = await files.rename(path, `${path}.moved`);

    expect(moved.metadata).toEqual(METADATA);
    expect((await files.getInfo(`${path}.moved`)).metadata).toEqual(METADATA);
  });

  it("goes when the file is replaced without any", async () => {
    const { files } = shared.sandbox;
    const path = await freshPath();
    await files.write(path, "old", { metadata: METADATA });

    await files.write(path, "new", { metadata: { author: "Bob" } });
    const replaced = (await files.getInfo(path)).metadata;
    await files.write(path, "newest");

    expect(replaced).toEqual({ author: "Bob" });
    expect((await files.getInfo(path)).metadata).toBeUndefined();
  });

  it("is the extended attributes that programs set and see", async () => {
    const { files, commands } = shared.sandbox;
    const path = await freshPath();
    await files.write(path, "", { metadata: { author: "Ada" } });
    const program = [
      "import os",
      `print(os.getxattr("${path}", "user.e2b.author").decode())`,
      `os.setxattr("${path}", "user.e2b.mood", b"good")`,
      `os.setxattr("${path}", "user.other", b"unseen")`,
    ].join("\n");

    const { stdout } = await commands.run(`python3 -c '${program}'`);

    expect(stdout).toBe("Ada\n");
    expect((await files.getInfo(path)).metadata).toEqual({ author: "Ada", mood: "good" });
  });

  it("is refused when a header or an attribute can't hold it", async () => {
    const { files } = shared.sandbox;
    const path = await freshPath();
    const refused = async (metadata: Record<string, string>) =>
      refusal(files.write(path, "", { metadata }), InvalidArgumentError);

    await refused({ "two words": "value" });
    await refused({ "": "value" });
    await refused({ key: "line\nbreak" });
    await refused({ key: "é" });
    await refused({ ["k".repeat(247)]: "value" });
    await refused({ key: "v".repeat(4097) });

    expect(await files.exists(path)).toBe(false);
  });
});
