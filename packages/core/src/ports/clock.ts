import type { DurationMs, EpochMs } from "../units.ts";

/** Time, handed in so that tests and the simulator own it. */
export interface Clock {
  now(): EpochMs;
  /** Resolves after `ms`, or rejects with the signal's reason when it is aborted first. */
  sleep(ms: DurationMs, signal: AbortSignal): Promise<void>;
  /** A signal that aborts after `ms` or with `parent`, whichever is first. */
  timeout(ms: DurationMs, parent: AbortSignal): AbortSignal;
}
