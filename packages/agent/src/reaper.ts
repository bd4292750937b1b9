import { ptr } from "bun:ffi";
import { readFileSync } from "node:fs";
import { libc } from "./libc.ts";

const P_PID = 1;
const WNOHANG = 1;
const WEXITED = 4;

/**
 * Takes away the orphans that end, where this program is the init of its process namespace. Bun
 * waits for its own children by pid; nobody waits for those that a dead process left behind.
 *
 * @param isOwn Tells whether Bun waits for this pid itself.
 */
export function reapOrphans(isOwn: (pid: number) => boolean): void {
  const reap = (): void => {
    for (const pid of childPids()) {
      if (isOwn(pid)) continue;
      const info = new Uint8Array(128);
      libc().waitid(P_PID, pid, ptr(info), WEXITED | WNOHANG);
    }
  };
  process.on("SIGCHLD", reap);
}

/** Children of all threads of this process, from the kernel. */
function childPids(): number[] {
  try {
    const text = readFileSync("/proc/self/task/1/children", "utf8");
    return text
      .split(" ")
      .map(Number)
      .filter((pid) => pid > 0);
  } catch {
    return [];
  }
}
