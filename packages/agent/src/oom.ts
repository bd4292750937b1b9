import { closeSync, openSync, writeSync } from "node:fs";

/** Score of the agent: almost everything else in the sandbox is killed before it. */
const AGENT_SCORE = "-900";
const CHILD_SCORE = "0";

let scoreFd: number | undefined;

/** Makes the kernel prefer others when memory runs out. Needs CAP_SYS_RESOURCE; else does nothing. */
export function shieldFromOom(): void {
  try {
    scoreFd = openSync("/proc/self/oom_score_adj", "r+");
    writeSync(scoreFd, AGENT_SCORE, 0);
  } catch {
    if (scoreFd !== undefined) closeSync(scoreFd);
    scoreFd = undefined;
  }
}

/**
 * Runs `spawn` while the shield is down, since a child inherits the score and nothing runs between
 * fork and exec that could reset it.
 */
export function spawnUnshielded<Result>(spawn: () => Result): Result {
  if (scoreFd === undefined) return spawn();
  writeSync(scoreFd, CHILD_SCORE, 0);
  try {
    return spawn();
  } finally {
    writeSync(scoreFd, AGENT_SCORE, 0);
  }
}
