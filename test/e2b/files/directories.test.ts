import { type EntryInfo, FileType, InvalidArgumentError } from "e2b";
import { describe, expect } from "vitest";
import { freshDirectory, it, refusal, sharedSandbox } from "../fixture.ts";

const shared = sharedSandbox();

/** Paths below a directory, as listed. */
function below(directory: string, entries: readonly EntryInfo[]): string[] {
  return entries.map(({ path }) => path.slice(directory.length + 1));
}

describe("files.list", () => {
  it("lists as deep as it is asked to, depth first", async () => {
    const { files } = shared.sandbox;
    const directory = await freshDirectory(shared.sandbox);
    await files.makeDir(`${directory}/b/bb/bbb`);
    await files.write(`${directory}/a.txt`, "");
    await files.write(`${directory}/b/b.txt`, "");
    const listed = async (depth?: number) =>
      below(directory, await files.list(directory, depth === undefined ? {} : { depth }));

    expect(await listed()).toEqual(["a.txt", "b"]);
    expect(await listed(1)).toEqual(["a.txt", "b"]);
    expect(await listed(2)).toEqual(["a.txt", "b", "b/b.txt", "b/bb"]);
    expect(await listed(9)).toEqual(["a.txt", "b", "b/b.txt", "b/bb", "b/bb/bbb"]);
  });

  it("refuses a depth below one and a path that is no directory", async () => {
    const { files } = shared.sandbox;
    const directory = await freshDirectory(shared.sandbox);
    await files.write(`${directory}/file.txt`, "");

    const error = await refusal(files.list(directory, { depth: 0 }), InvalidArgumentError);

    expect(error.message).toBe("depth should be at least one");
    await refusal(files.list(`${directory}/file.txt`), InvalidArgumentError);
  });

  it("tells everything about a file in it", async () => {
    const { files } = shared.sandbox;
    const directory = await freshDirectory(shared.sandbox);
    await files.write(`${directory}/file.txt`, "123");

    const listed = await files.list(directory);

    expect(listed).toEqual([await files.getInfo(`${directory}/file.txt`)]);
    expect(listed[0]).toMatchObject({ type: FileType.FILE, size: 3, permissions: "-rw-r--r--" });
  });

  it("tells everything about a directory in it", async () => {
    const { files } = shared.sandbox;
    const directory = await freshDirectory(shared.sandbox);
    await files.makeDir(`${directory}/sub`);

    const listed = await files.list(directory);

    expect(listed).toEqual([await files.getInfo(`${directory}/sub`)]);
    expect(listed[0]).toMatchObject({ type: FileType.DIR, permissions: "drwxr-xr-x" });
  });

  it("tells files from directories", async () => {
    const { files } = shared.sandbox;
    const directory = await freshDirectory(shared.sandbox);
    await files.makeDir(`${directory}/dir1`);
    await files.makeDir(`${directory}/dir2`);
    await files.writeFiles([
      { path: `${directory}/file1`, data: "1" },
      { path: `${directory}/file2`, data: "2" },
    ]);

    const listed = await files.list(directory);

    expect(listed.map(({ name, type }) => [name, type])).toEqual([
      ["dir1", FileType.DIR],
      ["dir2", FileType.DIR],
      ["file1", FileType.FILE],
      ["file2", FileType.FILE],
    ]);
  });
});

describe("files.makeDir", () => {
  it("makes a directory of the user", async () => {
    const { files } = shared.sandbox;
    const path = `${await freshDirectory(shared.sandbox)}/made`;

    expect(await files.makeDir(path)).toBe(true);

    expect(await files.getInfo(path)).toMatchObject({ type: FileType.DIR, owner: "user" });
  });

  it("says false for a directory that exists", async () => {
    const { files } = shared.sandbox;
    const path = await freshDirectory(shared.sandbox);

    expect(await files.makeDir(path)).toBe(false);

    await files.write(`${path}/file.txt`, "");
    await refusal(files.makeDir(`${path}/file.txt`), InvalidArgumentError);
  });

  it("makes the directories above it", async () => {
    const { files } = shared.sandbox;
    const path = await freshDirectory(shared.sandbox);

    expect(await files.makeDir(`${path}/a/b/c`)).toBe(true);

    expect(await files.getInfo(`${path}/a/b`)).toMatchObject({
      type: FileType.DIR,
      owner: "user",
      mode: 0o755,
    });
    expect(await files.exists(`${path}/a/b/c`)).toBe(true);
  });
});
