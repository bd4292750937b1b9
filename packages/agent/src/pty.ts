import { chownSync, readlinkSync } from "node:fs";
import { startChild } from "./children.ts";
import type { Launch } from "./launch.ts";
import { RpcError } from "./rpc-error.ts";

/** Size of a terminal in characters, each from 1 to 65,535. */
export interface TerminalSize {
  readonly cols: number;
  readonly rows: number;
}

/** The agent's side of a terminal. */
export interface Pty {
  /** Settles when nothing more can come out of the terminal. */
  readonly closed: Promise<void>;
  /** Types into the terminal. */
  write(bytes: Uint8Array): Promise<void>;
  resize(size: TerminalSize): void;
}

/**
 * Output that waits for a slow client, bytes. Bun can't pause a terminal, so beyond this the
 * oldest is kept and the newest dropped.
 */
const WAITING_BYTES_MAX = 8 * 1024 * 1024;
/** Bytes that one event carries at most. Source: envd 0.6.13 reads terminals by 16 KiB. */
const EVENT_BYTES_MAX = 16 * 1024;

/**
 * Runs a command in a terminal of its own that belongs to the command's user.
 *
 * @param publish Takes output; the next follows when its promise settles.
 * @throws the system's error when the program can't be run.
 */
export function spawnPty(
  launch: Launch,
  size: TerminalSize,
  publish: (bytes: Uint8Array) => Promise<void>,
): { child: Bun.Subprocess; pty: Pty } {
  const { promise: closed, resolve: close } = Promise.withResolvers<void>();
  const waiting: Uint8Array[] = [];
  let waitingBytes = 0;
  let isPumping = false;
  let isOver = false;
  const pump = async (): Promise<void> => {
    if (isPumping) return;
    isPumping = true;
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      waitingBytes -= next.length;
      for (let at = 0; at < next.length; at += EVENT_BYTES_MAX) {
        await publish(next.subarray(at, at + EVENT_BYTES_MAX));
      }
    }
    isPumping = false;
    if (isOver) close();
  };
  const child = startChild(() =>
    Bun.spawn(launch.argv, {
      cwd: launch.cwd,
      env: launch.env,
      ...launch.ids,
      detached: true,
      terminal: {
        ...size,
        data(_terminal, bytes) {
          if (waitingBytes > WAITING_BYTES_MAX) return;
          // Bun uses its buffer again for the next read.
          waiting.push(bytes.slice());
          waitingBytes += bytes.length;
          void pump();
        },
        exit() {
          isOver = true;
          void pump();
        },
      },
    }),
  );
  giveTerminal(child.pid, launch);
  const terminal = child.terminal;
  if (terminal === undefined) throw new RpcError("internal", "no terminal was attached");
  void closed.then(() => terminal.close());
  const pty: Pty = {
    closed,
    async write(bytes) {
      if (terminal.closed) throw new RpcError("internal", `the terminal of ${child.pid} is closed`);
      terminal.write(Buffer.from(bytes));
    },
    resize: ({ cols, rows }) => terminal.resize(cols, rows),
  };
  return { child, pty };
}

/** Makes the user own its terminal, as a login does; ssh, screen and the like look at that. */
function giveTerminal(pid: number, launch: Launch): void {
  const { uid, gid } = launch.owner;
  try {
    const path = readlinkSync(`/proc/${pid}/fd/0`);
    if (path.startsWith("/dev/pts/")) chownSync(path, uid, gid);
  } catch {
    // The command has ended already, or /proc is not there; the terminal works all the same.
  }
}
