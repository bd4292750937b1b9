import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { posix } from "node:path";
import { makeDirectories } from "./directories.ts";
import { shorten } from "./paths.ts";
import { errnoOf } from "./rpc-error.ts";
import type { User } from "./users.ts";
import { writeMetadata } from "./xattr.ts";

/** A refusal over plain HTTP, with E2B's status for it. */
export class FileFault extends Error {
  readonly status: number;

  constructor(status: number, message: string, options?: ErrorOptions) {
    super(message, options);
    this.status = status;
  }
}

const STATUSES: Readonly<Record<string, number>> = {
  ENOSPC: 507,
  EDQUOT: 507,
  EFBIG: 507,
  ENOENT: 404,
  EACCES: 403,
  EPERM: 403,
  EROFS: 403,
  EISDIR: 400,
  ENOTDIR: 400,
  ENAMETOOLONG: 400,
  ELOOP: 400,
  EINVAL: 400,
  ENXIO: 400,
  ETXTBSY: 400,
};

/** Wraps what a file operation threw. */
export function toFileFault(error: unknown, tried: string): FileFault {
  if (error instanceof FileFault) return error;
  const status = STATUSES[errnoOf(error) ?? ""] ?? 500;
  const reason = error instanceof Error ? error.message : String(error);
  const what = status === 507 ? "not enough disk space, " : "";
  return new FileFault(status, `${what}${tried}: ${reason}`, { cause: error });
}

/** What a file is written with. */
export interface WriteOptions {
  /** Absolute. */
  readonly path: string;
  readonly user: User;
  readonly metadata: Readonly<Record<string, string>>;
}

/** One file on its way to disk; it is written in place, as E2B's agent does. */
export class FileWriter {
  readonly #file: FileHandle;
  readonly #path: string;

  private constructor(file: FileHandle, path: string) {
    this.#file = file;
    this.#path = path;
  }

  /**
   * Opens a file, empty, with its missing parents, and gives it to the user.
   *
   * @throws FileFault 400 for a directory or device, 507 when the disk is full.
   */
  static async open({ path, user, metadata }: WriteOptions): Promise<FileWriter> {
    const tried = `can't write ${shorten(path)}`;
    let file: FileHandle | undefined;
    try {
      makeDirectories(posix.dirname(path), user);
      const { O_WRONLY, O_CREAT, O_NONBLOCK } = constants;
      file = await open(path, O_WRONLY | O_CREAT | O_NONBLOCK, 0o644);
      const stat = await file.stat();
      if (!stat.isFile()) throw new FileFault(400, `${tried}: not a regular file`);
      // Each of these makes an event for whoever watches, so none is made without need.
      if (stat.size > 0) await file.truncate(0);
      if (stat.uid !== user.uid || stat.gid !== user.gid) await file.chown(user.uid, user.gid);
      writeMetadata(path, metadata);
      return new FileWriter(file, path);
    } catch (error) {
      await file?.close();
      throw toFileFault(error, tried);
    }
  }

  /** Appends bytes. @throws FileFault 507 when the disk is full. */
  async write(bytes: Uint8Array): Promise<void> {
    try {
      for (let at = 0; at < bytes.length; ) {
        at += (await this.#file.write(bytes, at, bytes.length - at)).bytesWritten;
      }
    } catch (error) {
      throw toFileFault(error, `can't write ${shorten(this.#path)}`);
    }
  }

  /** Closes the file. */
  async close(): Promise<void> {
    await this.#file.close();
  }
}
