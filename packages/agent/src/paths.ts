import { posix } from "node:path";
import { RpcError } from "./rpc-error.ts";

/** Longest path, bytes; Linux's PATH_MAX without the closing NUL. */
export const PATH_BYTES_MAX = 4095;

/** What a path is relative to. */
export interface PathBase {
  /** Home of the user, absolute. */
  readonly home: string;
  /** What an empty path means, absolute. */
  readonly workdir: string;
}

/**
 * Makes a path absolute: `~` and relative paths start at the home, an empty one is the working
 * directory. `..` is resolved by text; nothing is looked up on disk.
 *
 * @throws RpcError invalid_argument for `~other`, a NUL byte, or more than 4,095 bytes.
 */
export function resolvePath(path: string, base: PathBase): string {
  if (path.includes("\0")) throw new RpcError("invalid_argument", "the path holds a NUL byte");
  if (path === "") return base.workdir;
  let full = path;
  if (path === "~" || path.startsWith("~/")) full = base.home + path.slice(1);
  else if (path.startsWith("~")) {
    throw new RpcError("invalid_argument", `path ${shorten(path)}: other users' homes by ~name`);
  }
  const resolved = posix.resolve(base.home, full);
  const bytes = Buffer.byteLength(resolved);
  if (bytes > PATH_BYTES_MAX) {
    const limit = `${bytes} bytes, at most ${PATH_BYTES_MAX} are possible`;
    throw new RpcError("invalid_argument", `path ${shorten(path)}: ${limit}`);
  }
  return resolved;
}

/** Path for a message, cut when it is long. */
export function shorten(path: string): string {
  return JSON.stringify(path.length > 200 ? `${path.slice(0, 200)}…` : path);
}
