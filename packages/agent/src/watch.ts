import { type Dirent, readdirSync, statfsSync, statSync } from "node:fs";
import { posix } from "node:path";
import { IN, type Inotify } from "./inotify.ts";
import { shorten } from "./paths.ts";
import { RpcError } from "./rpc-error.ts";

/** What happened to a file, in the words of E2B's protocol. */
export type WatchType =
  | "EVENT_TYPE_CREATE"
  | "EVENT_TYPE_WRITE"
  | "EVENT_TYPE_REMOVE"
  | "EVENT_TYPE_RENAME"
  | "EVENT_TYPE_CHMOD";

/** One thing that happened below a watched directory. */
export interface WatchEvent {
  readonly type: WatchType;
  /** Relative to the watched directory. */
  readonly name: string;
}

/** What to watch. */
export interface WatchOptions {
  /** Absolute path of a directory. */
  readonly root: string;
  /** True to watch the directories below it too, those made later included. */
  readonly recursive: boolean;
  /** True to accept file systems whose changes the kernel may not notice. */
  readonly allowNetworkMounts: boolean;
}

const MASK =
  IN.modify |
  IN.attrib |
  IN.movedFrom |
  IN.movedTo |
  IN.create |
  IN.delete |
  IN.onlyDir |
  IN.exclUnlink;

/** Names of file systems by their magic number. Source: linux/magic.h. */
const NETWORK_FILE_SYSTEMS: Readonly<Record<number, string>> = {
  26985: "NFS",
  20859: "SMB",
  4283649346: "CIFS",
  4266872130: "SMB2",
  1702057286: "FUSE",
};

/** Directories that one watcher follows; the host's limit on watches is shared by all sandboxes. */
const DIRECTORY_COUNT_MAX = 20_000;

/** A watch on a directory. */
export class Watch {
  readonly #inotify: Inotify;
  readonly #options: WatchOptions;
  readonly #emit: (event: WatchEvent) => void;
  /** What stops listening, by path relative to the root. */
  readonly #stops = new Map<string, () => void>();

  /**
   * Begins to watch.
   *
   * @throws RpcError not_found; invalid_argument for a file or a network mount;
   *   resource_exhausted when there are too many directories.
   */
  constructor(inotify: Inotify, options: WatchOptions, emit: (event: WatchEvent) => void) {
    this.#inotify = inotify;
    this.#options = options;
    this.#emit = emit;
    checkRoot(options);
    try {
      this.#follow("", false);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Stops watching. */
  close(): void {
    for (const stop of this.#stops.values()) stop();
    this.#stops.clear();
  }

  /** Listens to a directory and, when recursive, to those below it. */
  #follow(directory: string, isLate: boolean): void {
    if (this.#stops.size >= DIRECTORY_COUNT_MAX) {
      const limit = `more than ${DIRECTORY_COUNT_MAX} directories`;
      throw new RpcError("resource_exhausted", `${shorten(this.#options.root)} holds ${limit}`);
    }
    const path = posix.join(this.#options.root, directory);
    this.#stops.get(directory)?.();
    const stop = this.#inotify.add(path, MASK, (mask, name) => this.#notice(directory, mask, name));
    this.#stops.set(directory, stop);
    if (!this.#options.recursive) return;
    for (const item of itemsIn(path)) {
      const name = posix.join(directory, item.name);
      // What came into a directory before it was watched has made no notice.
      if (isLate) this.#emit({ type: "EVENT_TYPE_CREATE", name });
      if (isLate && item.isFile()) this.#emit({ type: "EVENT_TYPE_WRITE", name });
      if (item.isDirectory()) this.#tryFollow(name, isLate);
    }
  }

  /** Follows a directory unless it has vanished; a full host is an error only at the beginning. */
  #tryFollow(directory: string, isLate: boolean): void {
    try {
      this.#follow(directory, isLate);
    } catch (error) {
      if (isLate || (error instanceof RpcError && error.code === "not_found")) return;
      throw error;
    }
  }

  #notice(directory: string, mask: number, own: string): void {
    // Without a name it is about the directory itself, which its parent tells as well.
    if (own === "") return;
    const name = posix.join(directory, own);
    const type = typeOf(mask);
    if (type === undefined) return;
    this.#emit({ type, name });
    if ((mask & IN.isDir) === 0 || !this.#options.recursive) return;
    if (type === "EVENT_TYPE_CREATE") this.#tryFollow(name, true);
    else if (type !== "EVENT_TYPE_CHMOD") this.#forget(name);
  }

  /** Stops listening to a directory that went away, and to those below it. */
  #forget(directory: string): void {
    for (const [name, stop] of this.#stops) {
      if (name !== directory && !name.startsWith(`${directory}/`)) continue;
      stop();
      this.#stops.delete(name);
    }
  }
}

function typeOf(mask: number): WatchType | undefined {
  if ((mask & (IN.create | IN.movedTo)) !== 0) return "EVENT_TYPE_CREATE";
  if ((mask & IN.modify) !== 0) return "EVENT_TYPE_WRITE";
  if ((mask & IN.delete) !== 0) return "EVENT_TYPE_REMOVE";
  if ((mask & IN.movedFrom) !== 0) return "EVENT_TYPE_RENAME";
  return (mask & IN.attrib) !== 0 ? "EVENT_TYPE_CHMOD" : undefined;
}

function checkRoot({ root, allowNetworkMounts }: WatchOptions): void {
  if (!statSync(root).isDirectory()) {
    throw new RpcError("invalid_argument", `${shorten(root)} is not a directory`);
  }
  if (allowNetworkMounts) return;
  const kind = NETWORK_FILE_SYSTEMS[statfsSync(root).type >>> 0];
  if (kind === undefined) return;
  const why = `it is on ${kind}, whose changes may go unnoticed; allow network mounts to try`;
  throw new RpcError("invalid_argument", `can't watch ${shorten(root)}: ${why}`);
}

function itemsIn(path: string): Dirent[] {
  try {
    return readdirSync(path, { withFileTypes: true });
  } catch {
    return [];
  }
}
