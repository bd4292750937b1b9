import { mkdir, readdir, rm, rmdir, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { run } from "./debian.ts";

/** Folders on the host that are shared with one sandbox each, for the agent's unix socket. */
export interface Sockets {
  /**
   * Makes the folder of an instance. Succeeds when it is there.
   *
   * @returns Its path.
   */
  make(name: string): Promise<string>;
  /** Removes the folder. Succeeds when there is none. */
  remove(name: string): Promise<void>;
  /** Names of the folders that are there. */
  list(): Promise<readonly string[]>;
}

/** The agent's socket, in the folder. */
export const SOCKET_FILE = "agent.sock";

/**
 * Longest path of a unix socket, bytes. Source: `sun_path` of unix(7), less its closing NUL.
 */
const SOCKET_PATH_BYTES_MAX = 107;

/**
 * Keeps the folders below `dir`.
 *
 * The sandbox's root owns what lies in its folder: it may fill it, and put a link to another
 * socket in the agent's place. So, as root, each is a tiny file system of its own; and whoever
 * connects must take the socket itself and follow no link.
 *
 * @param isRoot Without root it is a plain folder, through which a sandbox can fill the disk.
 */
export function createSockets(dir: string, isRoot: boolean): Sockets {
  const busy = new Map<string, Promise<unknown>>();

  /** One change at a time per folder: a mount on a mount would be left behind. */
  const inTurn = <T>(name: string, task: () => Promise<T>): Promise<T> => {
    const turn = (busy.get(name) ?? Promise.resolve()).then(task, task);
    const done = turn
      .catch(() => {})
      .finally(() => {
        if (busy.get(name) === done) busy.delete(name);
      });
    busy.set(name, done);
    return turn;
  };

  const make = async (path: string): Promise<string> => {
    if (Buffer.byteLength(join(path, SOCKET_FILE)) > SOCKET_PATH_BYTES_MAX) {
      throw new Error(`${path} is too long for a unix socket: choose a shorter runDir.`);
    }
    await mkdir(path, { recursive: true, mode: 0o755 });
    if (isRoot && !(await isMount(path))) {
      await run("mount", ["-t", "tmpfs", "-o", TMPFS_OPTIONS, "soulbox", path]);
    }
    return path;
  };

  const remove = async (path: string): Promise<void> => {
    // Lazily: whoever still holds the socket open must not keep the folder.
    while (isRoot && (await isMount(path))) await run("umount", ["--lazy", path]);
    if (isRoot) await rmdir(path).catch(ignoreMissing);
    else await rm(path, { recursive: true, force: true });
  };

  return {
    make: (name) => inTurn(name, () => make(join(dir, name))),
    remove: (name) => inTurn(name, () => remove(join(dir, name))),
    list: () => readdir(dir).catch((error: unknown) => ignoreMissing(error) ?? []),
  };
}

/** Room for a socket and little else. */
const TMPFS_OPTIONS = "size=64k,nr_inodes=16,mode=0755,nosuid,nodev,noexec";

async function isMount(path: string): Promise<boolean> {
  try {
    const [own, parent] = await Promise.all([stat(path), stat(dirname(path))]);
    return own.dev !== parent.dev;
  } catch (error) {
    ignoreMissing(error);
    return false;
  }
}

function ignoreMissing(error: unknown): undefined {
  if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
  throw error;
}
