import { lstat, mkdir, realpath, symlink, writeFile } from "node:fs/promises";
import path from "node:path";
import { FileNotFoundError, FileType, InvalidArgumentError, type Sandbox } from "e2b";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Agent, canRun } from "./harness.ts";

describe.skipIf(!canRun)("filesystem", () => {
  let agent: Agent;
  let sandbox: Sandbox;
  const at = (name: string) => path.join(agent.workdir, name);
  beforeAll(async () => {
    agent = await Agent.startSandbox();
    sandbox = agent.sandbox();
  });
  afterAll(() => agent.stop());

  it("describes files, directories and links", async () => {
    await sandbox.files.write(at("info/file"), "12345");
    await symlink("file", at("info/link"));
    await symlink("nowhere", at("info/broken"));
    expect(await sandbox.files.getInfo(at("info/file"))).toMatchObject({
      name: "file",
      type: FileType.FILE,
      size: 5,
      mode: 0o644,
      permissions: "-rw-r--r--",
      owner: "nobody",
      group: "nogroup",
    });
    expect(await sandbox.files.getInfo(at("info"))).toMatchObject({
      type: FileType.DIR,
      permissions: "drwxr-xr-x",
      mode: 0o755,
    });
    expect(await sandbox.files.getInfo(at("info/link"))).toMatchObject({
      type: FileType.FILE,
      mode: 0o644,
      permissions: "Lrwxrwxrwx",
      symlinkTarget: await realpath(at("info/file")),
    });
    expect((await sandbox.files.getInfo(at("info/broken"))).type).toBe("symlink");
    await expect(sandbox.files.getInfo(at("info/none"))).rejects.toThrow(FileNotFoundError);
    expect(await sandbox.files.exists(at("info/none"))).toBe(false);
    expect((await sandbox.files.getInfo("/tmp")).permissions).toBe("dtrwxrwxrwx");
  });

  it("makes directories once, with parents", async () => {
    expect(await sandbox.files.makeDir(at("made/deep"))).toBe(true);
    expect(await sandbox.files.makeDir(at("made/deep"))).toBe(false);
    await writeFile(at("made/file"), "");
    await expect(sandbox.files.makeDir(at("made/file"))).rejects.toThrow(InvalidArgumentError);
    await expect(sandbox.files.makeDir(at("made/file/below"))).rejects.toThrow(
      InvalidArgumentError,
    );
  });

  it("lists depth first in name order, as deep as asked, without following links", async () => {
    for (const name of ["b/2", "b/1", "a/x/y"])
      await mkdir(at(`tree/${name}`), { recursive: true });
    await writeFile(at("tree/c"), "");
    await symlink("..", at("tree/b/up"));
    const list = async (depth: number) =>
      (await sandbox.files.list(at("tree"), { depth })).map((entry) =>
        path.relative(at("tree"), entry.path),
      );
    expect(await list(1)).toEqual(["a", "b", "c"]);
    expect(await list(2)).toEqual(["a", "a/x", "b", "b/1", "b/2", "b/up", "c"]);
    expect(await list(9)).toEqual(["a", "a/x", "a/x/y", "b", "b/1", "b/2", "b/up", "c"]);
    await symlink("tree", at("alias"));
    const [first] = await sandbox.files.list(at("alias"));
    expect(first?.path).toBe(at("alias/a"));
    await expect(sandbox.files.list(at("tree/c"))).rejects.toThrow(InvalidArgumentError);
    await expect(sandbox.files.list(at("none"))).rejects.toThrow(FileNotFoundError);
  });

  it("moves, also into directories that are missing and across file systems", async () => {
    await sandbox.files.write(at("from"), "moved");
    const moved = await sandbox.files.rename(at("from"), at("to/there"));
    expect(moved.path).toBe(at("to/there"));
    await expect(sandbox.files.rename(at("from"), at("x"))).rejects.toThrow(FileNotFoundError);
    await sandbox.files.rename(at("to/there"), "/dev/shm/soulbox-moved");
    expect(await sandbox.files.read("/dev/shm/soulbox-moved")).toBe("moved");
    await sandbox.files.remove("/dev/shm/soulbox-moved");
  });

  it("removes trees, and what is missing, but no link's target", async () => {
    await sandbox.files.write(at("gone/a/b"), "x");
    await sandbox.files.write(at("kept/f"), "x");
    await symlink(at("kept"), at("gone/a/link"));
    await sandbox.files.remove(at("gone"));
    await sandbox.files.remove(at("gone"));
    expect(await sandbox.files.exists(at("gone"))).toBe(false);
    expect((await lstat(at("kept/f"))).isFile()).toBe(true);
    await expect(sandbox.files.remove("/")).rejects.toThrow(InvalidArgumentError);
  });

  it("resolves homes, relative and empty paths", async () => {
    const stat = async (file: string, user: string) => {
      const authorization = `Basic ${Buffer.from(`${user}:`).toString("base64")}`;
      return (await agent.call("filesystem.Filesystem/Stat", { path: file }, { authorization }))
        .json;
    };
    expect((await stat("~", "root")).entry.path).toBe("/root");
    expect((await stat(".", "root")).entry.path).toBe("/root");
    expect((await stat("../etc", "root")).entry.path).toBe("/etc");
    expect((await stat("", "root")).entry.path).toBe(agent.workdir);
    expect((await stat("~daemon", "root")).code).toBe("invalid_argument");
    expect((await stat("/etc\0", "root")).code).toBe("invalid_argument");
    expect((await stat(`/${"a/".repeat(3000)}`, "root")).code).toBe("invalid_argument");
    expect((await stat(`/tmp/${"n".repeat(256)}`, "root")).code).toBe("invalid_argument");
    expect(await stat("/", "who")).toEqual({
      code: "unauthenticated",
      message: "invalid username: 'who'",
    });
  });
});
