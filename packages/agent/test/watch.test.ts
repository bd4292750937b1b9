import { chmod, mkdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { FileNotFoundError, type FilesystemEvent, InvalidArgumentError, type Sandbox } from "e2b";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { Agent, canRun, until } from "./harness.ts";

describe.skipIf(!canRun)("watch", () => {
  let agent: Agent;
  let sandbox: Sandbox;
  let directory: string;
  let count = 0;
  beforeAll(async () => {
    agent = await Agent.startSandbox();
    sandbox = agent.sandbox();
  });
  afterAll(() => agent.stop());
  beforeEach(async () => {
    count += 1;
    directory = path.join(agent.workdir, `watched${count}`);
    await mkdir(directory);
  });

  it("tells of creation, writing, modes, renames and removal", async () => {
    const events: FilesystemEvent[] = [];
    const watch = await sandbox.files.watchDir(directory, (event) => void events.push(event));
    const seen = (type: string, name: string) =>
      until(() => events.some((event) => event.type === type && event.name === name));
    await sandbox.files.write(`${directory}/f`, "x");
    await seen("create", "f");
    await seen("write", "f");
    await chmod(`${directory}/f`, 0o600);
    await seen("chmod", "f");
    await sandbox.files.rename(`${directory}/f`, `${directory}/g`);
    await seen("rename", "f");
    await seen("create", "g");
    await sandbox.files.remove(`${directory}/g`);
    await seen("remove", "g");
    await watch.stop();
  });

  it("follows directories made later, and what came into them before it could", async () => {
    const events: string[] = [];
    const watch = await sandbox.files.watchDir(
      directory,
      ({ type, name }) => void events.push(`${type} ${name}`),
      { recursive: true },
    );
    await mkdir(`${directory}/a/b/c`, { recursive: true });
    await writeFile(`${directory}/a/b/c/early`, "x");
    await until(() => events.includes("write a/b/c/early"));
    await sandbox.files.rename(`${directory}/a/b`, `${directory}/moved`);
    await until(() => events.includes("create moved/c/early"));
    await writeFile(`${directory}/moved/c/late`, "x");
    await until(() => events.includes("write moved/c/late"));
    expect(events.filter((event) => event.includes("a/b/c/late"))).toEqual([]);
    await watch.stop();
  });

  it("stays in the directory when it is not recursive", async () => {
    await mkdir(`${directory}/sub`);
    const names: string[] = [];
    const watch = await sandbox.files.watchDir(directory, ({ name }) => void names.push(name));
    await writeFile(`${directory}/sub/hidden`, "x");
    await writeFile(`${directory}/shown`, "x");
    await until(() => names.includes("shown"));
    expect(names.filter((name) => name.includes("hidden"))).toEqual([]);
    await watch.stop();
  });

  it("adds the entry when asked, while there is one", async () => {
    const events: FilesystemEvent[] = [];
    const watch = await sandbox.files.watchDir(directory, (event) => void events.push(event), {
      includeEntry: true,
    });
    await writeFile(`${directory}/f`, "12345");
    await until(() => events.some(({ type, entry }) => type === "write" && entry?.size === 5));
    await sandbox.files.remove(`${directory}/f`);
    await until(() => events.some(({ type, entry }) => type === "remove" && entry === undefined));
    await watch.stop();
  });

  it("refuses files and what is missing, inside the stream", async () => {
    await writeFile(`${directory}/f`, "");
    const watch = (target: string) => sandbox.files.watchDir(target, () => {});
    await expect(watch(`${directory}/f`)).rejects.toThrow(InvalidArgumentError);
    await expect(watch(`${directory}/none`)).rejects.toThrow(FileNotFoundError);
    const { status, frames } = await agent.stream("filesystem.Filesystem/WatchDir", {
      path: "/none",
    });
    expect(status).toBe(200);
    expect(frames[0]?.json.error.code).toBe("not_found");
  });

  it("ends a stream at its limit", async () => {
    const headers = { "connect-timeout-ms": "100" };
    const method = "filesystem.Filesystem/WatchDir";
    const { frames } = await agent.stream(method, { path: directory }, headers);
    expect(frames[0]?.json).toEqual({ start: {} });
    expect(frames.at(-1)?.json.error.code).toBe("deadline_exceeded");
  });

  it("keeps events for clients that ask", async () => {
    const call = (name: string, message: object) =>
      agent.call(`filesystem.Filesystem/${name}`, message).then(({ json }) => json);
    const { watcherId } = await call("CreateWatcher", { path: directory });
    await writeFile(`${directory}/f`, "x");
    const names: string[] = [];
    await until(async () => {
      const { events } = await call("GetWatcherEvents", { watcherId });
      names.push(
        ...events.map(({ type, name }: { type: string; name: string }) => `${type} ${name}`),
      );
      return names.includes("EVENT_TYPE_WRITE f");
    });
    expect(names[0]).toBe("EVENT_TYPE_CREATE f");
    expect(await call("GetWatcherEvents", { watcherId })).toEqual({ events: [] });
    expect(await call("RemoveWatcher", { watcherId })).toEqual({});
    expect((await call("GetWatcherEvents", { watcherId })).code).toBe("not_found");
  });
});
