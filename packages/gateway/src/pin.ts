import { closeSync, constants as fsConstants, fstatSync, lstatSync, openSync } from "node:fs";

/** A unix socket held by its inode, so that nobody can put another in its place. */
export interface Pin {
  /** Path to connect to while the pin is held. */
  readonly path: string;
  /** False where the platform has no `/proc`: then only the last check stands between. */
  readonly isExact: boolean;
  /** True after `release`; connecting by `path` is a mistake from then on. */
  readonly isReleased: boolean;
  /** Lets go of the socket. Harmless when repeated. */
  release(): void;
}

/** Opens only a reference to the file. Source: Linux, include/uapi/asm-generic/fcntl.h. */
const O_PATH = 0x200000;

/**
 * Takes hold of the socket at a path that a sandbox can write to.
 *
 * Code inside may replace its socket by a symbolic link to one of the host's (the engine's own,
 * for example) between any two connects. So the file is opened once as a mere reference, without
 * following links, checked to be a socket, and reached through `/proc/self/fd/<fd>` from then on.
 * The directories above it must be out of the sandbox's reach.
 *
 * Where there is no such `/proc` (macOS), the file is checked before each pin and connected to by
 * name: a sandbox that swaps it at the right moment wins that race. Don't hand such hosts' sockets
 * to sandboxes that aren't trusted.
 *
 * @throws Error with the system's `code` when there is nothing, `EINVAL` when it is no socket or a
 *   link.
 */
export function pinSocket(path: string, platform: NodeJS.Platform = process.platform): Pin {
  if (platform !== "linux") return checkSocket(path);
  const fd = openSync(path, O_PATH | fsConstants.O_NOFOLLOW);
  // With O_PATH and O_NOFOLLOW a link is opened itself, and fstat tells.
  const isSocket = fstatSync(fd).isSocket();
  if (!isSocket) {
    closeSync(fd);
    throw notASocket(path);
  }
  let isReleased = false;
  return {
    path: `/proc/self/fd/${fd}`,
    isExact: true,
    get isReleased() {
      return isReleased;
    },
    release() {
      if (isReleased) return;
      isReleased = true;
      closeSync(fd);
    },
  };
}

function checkSocket(path: string): Pin {
  if (!lstatSync(path).isSocket()) throw notASocket(path);
  let isReleased = false;
  return {
    path,
    isExact: false,
    get isReleased() {
      return isReleased;
    },
    release() {
      isReleased = true;
    },
  };
}

function notASocket(path: string): Error {
  return Object.assign(new Error(`${path} is not a socket`), { code: "EINVAL" });
}
