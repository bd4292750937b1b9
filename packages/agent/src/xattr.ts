import { ptr } from "bun:ffi";
import { cString, lastErrno, libc } from "./libc.ts";

/** Extended attributes that hold E2B's metadata. */
const PREFIX = "user.e2b.";
const ENODATA = 61;
const ERANGE = 34;
const ENOTSUP = 95;

/** Metadata of a file: keys without the prefix. Empty when the file system holds none. */
export function readMetadata(path: string): Record<string, string> {
  const file = cString(path);
  const metadata: Record<string, string> = {};
  for (const name of listNames(file)) {
    if (!name.startsWith(PREFIX)) continue;
    const value = readValue(file, name);
    if (value !== undefined) metadata[name.slice(PREFIX.length)] = value;
  }
  return metadata;
}

/**
 * Replaces a file's metadata by `metadata`.
 *
 * @throws Error that says why when the file system can't hold it. Clearing never fails.
 */
export function writeMetadata(path: string, metadata: Readonly<Record<string, string>>): void {
  const file = cString(path);
  for (const name of listNames(file)) {
    if (!name.startsWith(PREFIX) || name.slice(PREFIX.length) in metadata) continue;
    libc().removexattr(ptr(file), ptr(cString(name)));
  }
  for (const [key, value] of Object.entries(metadata)) {
    const bytes = cString(value);
    const name = cString(PREFIX + key);
    if (libc().setxattr(ptr(file), ptr(name), ptr(bytes), bytes.length - 1, 0) === 0) continue;
    const errno = lastErrno();
    const why =
      errno === ENOTSUP ? "its file system holds no extended attributes" : `errno ${errno}`;
    throw new Error(`can't set metadata ${JSON.stringify(key)} of ${JSON.stringify(path)}: ${why}`);
  }
}

function listNames(file: Buffer): string[] {
  const bytes = grow((buffer) => Number(libc().llistxattr(ptr(file), ptr(buffer), buffer.length)));
  return (bytes?.toString() ?? "").split("\0").filter((name) => name !== "");
}

function readValue(file: Buffer, name: string): string | undefined {
  const cName = cString(name);
  return grow((buffer) =>
    Number(libc().lgetxattr(ptr(file), ptr(cName), ptr(buffer), buffer.length)),
  )?.toString();
}

/** Reads into a buffer that is made larger until what is read fits. */
function grow(read: (buffer: Buffer) => number): Buffer | undefined {
  for (let size = 1024; size <= 64 * 1024; size *= 8) {
    const buffer = Buffer.alloc(size);
    const length = read(buffer);
    if (length >= 0) return buffer.subarray(0, length);
    const errno = lastErrno();
    if (errno === ENODATA || errno !== ERANGE) return undefined;
  }
  return undefined;
}
