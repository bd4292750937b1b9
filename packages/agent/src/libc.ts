import { dlopen, type Pointer, ptr, read } from "bun:ffi";
import { closeSync } from "node:fs";

const FUNCTIONS = {
  pipe2: { args: ["ptr", "i32"], returns: "i32" },
  lgetxattr: { args: ["ptr", "ptr", "ptr", "u64"], returns: "i64" },
  llistxattr: { args: ["ptr", "ptr", "u64"], returns: "i64" },
  setxattr: { args: ["ptr", "ptr", "ptr", "u64", "i32"], returns: "i32" },
  removexattr: { args: ["ptr", "ptr"], returns: "i32" },
  inotify_init1: { args: ["i32"], returns: "i32" },
  inotify_add_watch: { args: ["i32", "ptr", "u32"], returns: "i32" },
  inotify_rm_watch: { args: ["i32", "i32"], returns: "i32" },
  read: { args: ["i32", "ptr", "u64"], returns: "i64" },
  waitid: { args: ["i32", "i32", "ptr", "i32"], returns: "i32" },
  __errno_location: { args: [], returns: "ptr" },
} as const;

function open() {
  return dlopen("libc.so.6", FUNCTIONS).symbols;
}

let symbols: ReturnType<typeof open> | undefined;

/** The functions of libc that Bun has no API for; loaded on first use (0.3 ms). */
export function libc(): ReturnType<typeof open> {
  symbols ??= open();
  return symbols;
}

/** Errno of the last failed call; to be asked before anything else is called. */
export function lastErrno(): number {
  const at = libc().__errno_location();
  return at === null ? 0 : read.i32(Number(at) as Pointer, 0);
}

/** Text as C wants it. */
export function cString(text: string): Buffer {
  return Buffer.from(`${text}\0`);
}

const O_CLOEXEC = 0o2000000;

/** The two ends of a pipe; neither is inherited by children unless handed over. */
export interface Pipe {
  readonly readFd: number;
  readonly writeFd: number;
}

/**
 * Makes a pipe. Bun's own "pipe" is a pair of sockets, which breaks `> /dev/stdout` and lets bash
 * believe that it runs under rshd.
 */
export function makePipe(): Pipe {
  const fds = new Int32Array(2);
  if (libc().pipe2(ptr(fds), O_CLOEXEC) !== 0) throw new Error(`pipe2: errno ${lastErrno()}`);
  const [readFd = -1, writeFd = -1] = fds;
  return { readFd, writeFd };
}

/** Closes descriptors that are open. */
export function closeAll(fds: readonly (number | undefined)[]): void {
  for (const fd of fds) if (fd !== undefined) closeSync(fd);
}
