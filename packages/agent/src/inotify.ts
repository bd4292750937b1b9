import { ptr } from "bun:ffi";
import { cString, lastErrno, libc } from "./libc.ts";
import { RpcError } from "./rpc-error.ts";

/** Bits of an inotify event. Source: linux/inotify.h. */
export const IN = {
  modify: 0x2,
  attrib: 0x4,
  movedFrom: 0x40,
  movedTo: 0x80,
  create: 0x100,
  delete: 0x200,
  ignored: 0x8000,
  onlyDir: 0x1000000,
  exclUnlink: 0x4000000,
  isDir: 0x40000000,
} as const;

/** Takes what happened to `name` in a watched directory; the mask is made of {@link IN}. */
export type DirectoryListener = (mask: number, name: string) => void;

const NONBLOCK_CLOEXEC = 0o2004000;
const HEADER_BYTES = 16;
const ERRNO_CODES: Readonly<Record<number, RpcError["code"]>> = {
  2: "not_found",
  13: "permission_denied",
  20: "invalid_argument",
  24: "resource_exhausted",
  28: "resource_exhausted",
};

/**
 * The kernel's notices about directories, over one descriptor for all watchers: a host allows its
 * root user only 128 of them, which all sandboxes of the host share.
 */
export class Inotify {
  #fd: number | undefined;
  readonly #listeners = new Map<number, Set<DirectoryListener>>();

  /**
   * Listens to a directory.
   *
   * @returns what stops it.
   * @throws RpcError not_found, invalid_argument when it is no directory, resource_exhausted when
   *   the host allows no more watches.
   */
  add(path: string, mask: number, listener: DirectoryListener): () => void {
    const fd = this.#open();
    const watch = libc().inotify_add_watch(fd, ptr(cString(path)), mask);
    if (watch < 0) {
      const errno = lastErrno();
      throw new RpcError(
        ERRNO_CODES[errno] ?? "internal",
        `can't watch ${JSON.stringify(path)}: errno ${errno}`,
      );
    }
    const listeners = this.#listeners.get(watch) ?? new Set();
    this.#listeners.set(watch, listeners.add(listener));
    return () => {
      listeners.delete(listener);
      if (listeners.size > 0 || this.#listeners.get(watch) !== listeners) return;
      this.#listeners.delete(watch);
      libc().inotify_rm_watch(fd, watch);
    };
  }

  #open(): number {
    if (this.#fd !== undefined) return this.#fd;
    const fd = libc().inotify_init1(NONBLOCK_CLOEXEC);
    if (fd < 0) throw new RpcError("resource_exhausted", `inotify_init1: errno ${lastErrno()}`);
    this.#fd = fd;
    void this.#read(fd);
    return fd;
  }

  async #read(fd: number): Promise<void> {
    const reader = Bun.file(fd).stream().getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      this.#dispatch(Buffer.from(value.buffer, value.byteOffset, value.length));
    }
  }

  #dispatch(bytes: Buffer): void {
    for (let at = 0; at + HEADER_BYTES <= bytes.length; ) {
      const watch = bytes.readInt32LE(at);
      const mask = bytes.readUInt32LE(at + 4);
      const nameBytes = bytes.readUInt32LE(at + 12);
      const start = at + HEADER_BYTES;
      const [name = ""] = bytes.toString("utf8", start, start + nameBytes).split("\0");
      at = start + nameBytes;
      const listeners = this.#listeners.get(watch);
      if (listeners === undefined) continue;
      // A copy, since a listener may add and remove others.
      for (const listener of [...listeners]) listener(mask, name);
      if ((mask & IN.ignored) !== 0) this.#listeners.delete(watch);
    }
  }
}
