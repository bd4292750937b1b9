import { closeSync, openSync, readFileSync, writeSync } from "node:fs";

/** Kernel scores, −1000 to 1000: who has the highest is killed first when memory runs out. */
interface Scores {
  readonly agent: string;
  readonly child: string;
}

const LOWERED: Scores = { agent: "-900", child: "0" };

/** Scores that need no privilege: the agent keeps what it was started with, children go above. */
function raisedScores(inherited: number): Scores {
  const child = inherited < 0 ? 0 : Math.min(1000, inherited + 500);
  return { agent: String(inherited), child: String(child) };
}

let shield: { readonly fd: number; readonly scores: Scores } | undefined;
const pids = new Set<number>();

/** Makes the kernel prefer the agent's children when memory runs out. */
export function shieldFromOom(): void {
  let fd: number | undefined;
  try {
    fd = openSync("/proc/self/oom_score_adj", "r+");
    const inherited = Number(readFileSync("/proc/self/oom_score_adj", "utf8"));
    // Going lower needs CAP_SYS_RESOURCE.
    const scores = trySetScore(fd, LOWERED.agent) ? LOWERED : raisedScores(inherited);
    shield = { fd, scores };
  } catch {
    // No /proc, or a read-only one: the kernel chooses as it likes.
    if (fd !== undefined) closeSync(fd);
  }
}

function trySetScore(fd: number, score: string): boolean {
  try {
    return writeSync(fd, score, 0) > 0;
  } catch {
    return false;
  }
}

/**
 * Starts a child, by `spawn`, with the score of a child: it is inherited, and nothing of ours runs
 * between fork and exec that could set it.
 */
export function startChild<Child extends Bun.Subprocess>(spawn: () => Child): Child {
  const child = spawnUnshielded(spawn);
  pids.add(child.pid);
  void child.exited.finally(() => pids.delete(child.pid));
  return child;
}

/** True for a pid that Bun waits for itself. */
export function isOwnChild(pid: number): boolean {
  return pids.has(pid);
}

function spawnUnshielded<Child>(spawn: () => Child): Child {
  if (shield === undefined) return spawn();
  const { fd, scores } = shield;
  trySetScore(fd, scores.child);
  try {
    return spawn();
  } finally {
    trySetScore(fd, scores.agent);
  }
}
