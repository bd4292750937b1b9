import { FileType, InvalidArgumentError } from "e2b";
import { describe, expect } from "vitest";
import { freshDirectory, it, refusal, sharedSandbox } from "../fixture.ts";

const shared = sharedSandbox();

/** The two ways a file travels up. */
const UPLOADS = [
  { name: "form", options: { useOctetStream: false } },
  { name: "octet stream", options: { useOctetStream: true } },
] as const;

/** A body whose length nobody knows before its end. */
function streamOf(...chunks: string[]): ReadableStream {
  return new Blob(chunks).stream();
}

describe("files.write", () => {
  for (const { name, options } of UPLOADS) {
    it(`makes a file of the default user (${name})`, async () => {
      const { files } = shared.sandbox;
      const path = `${await freshDirectory(shared.sandbox)}/made.txt`;

      const written = await files.write(path, "made", options);

      expect(written).toEqual({ name: "made.txt", path, type: FileType.FILE });
      expect(await files.read(path)).toBe("made");
      expect(await files.getInfo(path)).toMatchObject({
        owner: "user",
        group: "user",
        mode: 0o644,
      });
    });
  }

  it("replaces a file and leaves nothing of the old one", async () => {
    const { files } = shared.sandbox;
    const path = `${await freshDirectory(shared.sandbox)}/twice.txt`;
    await files.write(path, "the first and longer text");

    await files.write(path, "the second");

    expect(await files.read(path)).toBe("the second");
  });

  it("makes the directories on the way", async () => {
    const { files } = shared.sandbox;
    const directory = await freshDirectory(shared.sandbox);

    await files.write(`${directory}/a/b/c.txt`, "deep");

    expect(await files.read(`${directory}/a/b/c.txt`)).toBe("deep");
    expect(await files.getInfo(`${directory}/a/b`)).toMatchObject({
      type: FileType.DIR,
      owner: "user",
      mode: 0o755,
    });
  });

  it("takes a stream", async () => {
    const { files } = shared.sandbox;
    const path = `${await freshDirectory(shared.sandbox)}/streamed.txt`;

    const written = await files.write(path, streamOf("one ", "two ", "three"), {
      useOctetStream: true,
    });

    expect(written).toMatchObject({ name: "streamed.txt", path });
    expect(await files.read(path)).toBe("one two three");
  });

  it("takes a stream packed with gzip", async () => {
    const { files } = shared.sandbox;
    const path = `${await freshDirectory(shared.sandbox)}/packed.txt`;
    const chunk = "the same again ".repeat(1000);

    await files.write(path, streamOf(chunk, chunk), { useOctetStream: true, gzip: true });

    expect(await files.read(path)).toBe(chunk + chunk);
    expect((await files.getInfo(path)).size).toBe(2 * chunk.length);
  });

  it("takes several files in one call, in the given order", async () => {
    const { files } = shared.sandbox;
    const directory = await freshDirectory(shared.sandbox);
    const names = ["c.txt", "a.txt", "b.txt"];

    const written = await files.write(
      names.map((name) => ({ path: `${directory}/${name}`, data: `I am ${name}` })),
    );

    expect(written.map(({ name }) => name)).toEqual(names);
    for (const name of names) {
      expect(await files.read(`${directory}/${name}`)).toBe(`I am ${name}`);
    }
  });
});

describe("files.writeFiles", () => {
  it("writes many files and tells of each", async () => {
    const { files } = shared.sandbox;
    const directory = await freshDirectory(shared.sandbox);
    const entries = Array.from({ length: 10 }, (_, index) => ({
      path: `${directory}/file-${index}.txt`,
      data: `content ${index}`,
    }));

    const written = await files.writeFiles(entries);

    expect(written).toEqual(
      entries.map(({ path }, index) => ({
        name: `file-${index}.txt`,
        path,
        type: FileType.FILE,
      })),
    );
    const contents = await Promise.all(entries.map(({ path }) => files.read(path)));
    expect(contents).toEqual(entries.map(({ data }) => data));
  });

  it("writes nothing when given nothing", async () => {
    expect(await shared.sandbox.files.writeFiles([])).toEqual([]);
  });

  it("writes text, bytes, blobs and streams together", async () => {
    const { files } = shared.sandbox;
    const directory = await freshDirectory(shared.sandbox);
    const bytes = Uint8Array.of(0, 1, 2, 253, 254, 255);

    await files.writeFiles([
      { path: `${directory}/text`, data: "text" },
      { path: `${directory}/bytes`, data: bytes.buffer },
      { path: `${directory}/blob`, data: new Blob(["bl", "ob"]) },
      { path: `${directory}/stream`, data: streamOf("str", "eam") },
    ]);

    expect(await files.read(`${directory}/text`)).toBe("text");
    expect(await files.read(`${directory}/bytes`, { format: "bytes" })).toEqual(bytes);
    expect(await files.read(`${directory}/blob`)).toBe("blob");
    expect(await files.read(`${directory}/stream`)).toBe("stream");
  });

  it("makes the directories on the way to every file", async () => {
    const { files } = shared.sandbox;
    const directory = await freshDirectory(shared.sandbox);

    await files.writeFiles([
      { path: `${directory}/one/two/first.txt`, data: "first" },
      { path: `${directory}/three/second.txt`, data: "second" },
    ]);

    expect(await files.read(`${directory}/one/two/first.txt`)).toBe("first");
    expect(await files.read(`${directory}/three/second.txt`)).toBe("second");
  });

  it("replaces files that exist", async () => {
    const { files } = shared.sandbox;
    const directory = await freshDirectory(shared.sandbox);
    const paths = [`${directory}/x`, `${directory}/y`];
    await files.writeFiles(paths.map((path) => ({ path, data: "old and long" })));

    await files.writeFiles(paths.map((path) => ({ path, data: "new" })));

    expect(await Promise.all(paths.map((path) => files.read(path)))).toEqual(["new", "new"]);
  });

  it("refuses the same file twice in one call", async () => {
    const path = `${await freshDirectory(shared.sandbox)}/same.txt`;

    await refusal(
      shared.sandbox.files.writeFiles([
        { path, data: "one" },
        { path, data: "two" },
      ]),
      InvalidArgumentError,
    );
  });
});
