import {
  FileNotFoundError,
  type FilesystemEvent,
  FilesystemEventType,
  FileType,
  InvalidArgumentError,
} from "e2b";
import { describe, expect, onTestFinished } from "vitest";
import { freshDirectory, it, refusal, sharedSandbox } from "../fixture.ts";

const shared = sharedSandbox();

interface WatchOptions {
  recursive?: boolean;
  includeEntry?: boolean;
  allowNetworkMounts?: boolean;
}

/** Starts to watch; the list grows as events arrive. */
async function watching(path: string, options: WatchOptions = {}): Promise<FilesystemEvent[]> {
  const events: FilesystemEvent[] = [];
  const handle = await shared.sandbox.files.watchDir(path, (event) => void events.push(event), {
    ...options,
  });
  onTestFinished(() => handle.stop());
  return events;
}

/** Waits until something of this kind happened to this name. */
async function expectEvent(
  events: readonly FilesystemEvent[],
  name: string,
  type: FilesystemEventType,
): Promise<void> {
  await expect.poll(() => events).toContainEqual(expect.objectContaining({ name, type }));
}

describe("files.watchDir", () => {
  it("tells what happens to the files in a directory", async () => {
    const { files, commands } = shared.sandbox;
    const directory = await freshDirectory(shared.sandbox);
    const events = await watching(directory);

    await files.write(`${directory}/a.txt`, "one");
    await expectEvent(events, "a.txt", FilesystemEventType.CREATE);
    await expectEvent(events, "a.txt", FilesystemEventType.WRITE);
    await commands.run(`chmod 600 ${directory}/a.txt`);
    await expectEvent(events, "a.txt", FilesystemEventType.CHMOD);
    await files.rename(`${directory}/a.txt`, `${directory}/b.txt`);
    await expectEvent(events, "a.txt", FilesystemEventType.RENAME);
    await expectEvent(events, "b.txt", FilesystemEventType.CREATE);
    await files.remove(`${directory}/b.txt`);
    await expectEvent(events, "b.txt", FilesystemEventType.REMOVE);

    expect(events.every(({ entry }) => entry === undefined)).toBe(true);
  });

  it("tells everything about the entry when asked to", async () => {
    const { files } = shared.sandbox;
    const directory = await freshDirectory(shared.sandbox);
    const events = await watching(directory, { includeEntry: true });

    await files.write(`${directory}/a.txt`, "12345");

    await expectEvent(events, "a.txt", FilesystemEventType.WRITE);
    const write = events.findLast(({ type }) => type === FilesystemEventType.WRITE);
    expect(write?.entry).toMatchObject({
      name: "a.txt",
      path: `${directory}/a.txt`,
      type: FileType.FILE,
      size: 5,
      owner: "user",
    });
  });

  it("tells of directories below when it is recursive, and of them only then", async () => {
    const { files } = shared.sandbox;
    const directory = await freshDirectory(shared.sandbox);
    await files.makeDir(`${directory}/sub`);
    const flat = await watching(directory);
    const deep = await watching(directory, { recursive: true });

    await files.write(`${directory}/sub/a.txt`, "deep");
    await files.write(`${directory}/last.txt`, "flat");

    await expectEvent(deep, "sub/a.txt", FilesystemEventType.WRITE);
    await expectEvent(flat, "last.txt", FilesystemEventType.WRITE);
    expect(flat.filter(({ name }) => name.startsWith("sub/"))).toEqual([]);
  });

  it("follows a directory that appears while it watches", async () => {
    const { files } = shared.sandbox;
    const directory = await freshDirectory(shared.sandbox);
    const events = await watching(directory, { recursive: true });

    await files.makeDir(`${directory}/new`);
    await expectEvent(events, "new", FilesystemEventType.CREATE);
    await files.write(`${directory}/new/a.txt`, "inside");

    await expectEvent(events, "new/a.txt", FilesystemEventType.WRITE);
  });

  it("watches a local directory when network mounts are allowed too", async () => {
    const { files } = shared.sandbox;
    const directory = await freshDirectory(shared.sandbox);
    const events = await watching(directory, { allowNetworkMounts: true });

    await files.write(`${directory}/a.txt`, "one");

    await expectEvent(events, "a.txt", FilesystemEventType.CREATE);
  });

  it("refuses to watch a file", async () => {
    const path = `${await freshDirectory(shared.sandbox)}/file.txt`;
    await shared.sandbox.files.write(path, "");

    await refusal(watching(path), InvalidArgumentError);
  });

  it("refuses to watch a directory that does not exist", async () => {
    await refusal(watching("/no/such/directory"), FileNotFoundError);
  });
});
