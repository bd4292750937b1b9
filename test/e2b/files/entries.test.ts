import { FileNotFoundError, FileType } from "e2b";
import { describe, expect } from "vitest";
import { freshDirectory, it, refusal, sharedSandbox } from "../fixture.ts";

const shared = sharedSandbox();

/** The clock of the sandbox and ours are one host's; files keep fractions of a second. */
const CLOCK_MS = 2000;

describe("files.exists", () => {
  it("says true for a file, a directory and a link", async () => {
    const { files, commands } = shared.sandbox;
    const directory = await freshDirectory(shared.sandbox);
    await files.write(`${directory}/file.txt`, "");
    await commands.run(`ln -s file.txt ${directory}/link`);

    expect(await files.exists(`${directory}/file.txt`)).toBe(true);
    expect(await files.exists(directory)).toBe(true);
    expect(await files.exists(`${directory}/link`)).toBe(true);
  });

  it("says false for what is not there", async () => {
    expect(await shared.sandbox.files.exists("no-such-file.txt")).toBe(false);
    expect(await shared.sandbox.files.exists("/no/such/directory")).toBe(false);
  });
});

describe("files.getInfo", () => {
  it("tells everything about a file", async () => {
    const { files } = shared.sandbox;
    const directory = await freshDirectory(shared.sandbox);
    const path = `${directory}/file.txt`;
    await files.write(path, "12345");

    const { modifiedTime, ...info } = await files.getInfo(path);

    expect(info).toEqual({
      name: "file.txt",
      path,
      type: FileType.FILE,
      size: 5,
      mode: 0o644,
      permissions: "-rw-r--r--",
      owner: "user",
      group: "user",
    });
    expect(Math.abs((modifiedTime?.getTime() ?? 0) - Date.now())).toBeLessThan(CLOCK_MS);
  });

  it("tells everything about a directory", async () => {
    const path = await freshDirectory(shared.sandbox);

    const info = await shared.sandbox.files.getInfo(path);

    expect(info).toMatchObject({
      name: path.split("/").at(-1),
      path,
      type: FileType.DIR,
      mode: 0o755,
      permissions: "drwxr-xr-x",
      owner: "user",
      group: "user",
    });
    expect(info.symlinkTarget).toBeUndefined();
  });

  it("tells where a link leads and what lies there", async () => {
    const { files, commands } = shared.sandbox;
    const directory = await freshDirectory(shared.sandbox);
    await files.write(`${directory}/target.txt`, "1234567");
    await commands.run(`ln -s target.txt ${directory}/near && ln -s near ${directory}/far`);

    const info = await files.getInfo(`${directory}/far`);

    expect(info).toMatchObject({
      name: "far",
      path: `${directory}/far`,
      type: FileType.FILE,
      mode: 0o644,
      symlinkTarget: `${directory}/target.txt`,
    });
    expect(info.permissions).toMatch(/^L/);
  });

  it("refuses a missing file", async () => {
    await refusal(shared.sandbox.files.getInfo("no-such-file.txt"), FileNotFoundError);
  });

  it("refuses a missing directory", async () => {
    await refusal(shared.sandbox.files.getInfo("/no/such/directory/"), FileNotFoundError);
  });
});

describe("files.rename", () => {
  it("moves a file and tells of it under its new name", async () => {
    const { files } = shared.sandbox;
    const directory = await freshDirectory(shared.sandbox);
    await files.write(`${directory}/old.txt`, "moved");

    const info = await files.rename(`${directory}/old.txt`, `${directory}/sub/new.txt`);

    expect(info).toMatchObject({
      name: "new.txt",
      path: `${directory}/sub/new.txt`,
      type: FileType.FILE,
      size: 5,
    });
    expect(await files.exists(`${directory}/old.txt`)).toBe(false);
    expect(await files.read(`${directory}/sub/new.txt`)).toBe("moved");
  });

  it("refuses to move what is not there", async () => {
    const { files } = shared.sandbox;
    const directory = await freshDirectory(shared.sandbox);

    await refusal(files.rename(`${directory}/none`, `${directory}/other`), FileNotFoundError);

    expect(await files.exists(`${directory}/other`)).toBe(false);
  });
});

describe("files.remove", () => {
  it("removes a file, and a directory with all it holds", async () => {
    const { files } = shared.sandbox;
    const directory = await freshDirectory(shared.sandbox);
    await files.write(`${directory}/file.txt`, "");
    await files.write(`${directory}/full/of/things.txt`, "");

    await files.remove(`${directory}/file.txt`);
    await files.remove(`${directory}/full`);

    expect(await files.list(directory)).toEqual([]);
  });

  it("is content when there is nothing to remove", async () => {
    await expect(shared.sandbox.files.remove("no-such-file.txt")).resolves.toBeUndefined();
  });
});
