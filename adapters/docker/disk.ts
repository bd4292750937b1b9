/** Measures what instances have written, from outside and in the background. */
export interface DiskWatch<Key> {
  /** Bytes when last measured; `undefined` when never. */
  sizeBytes(key: Key): number | undefined;
  /**
   * Starts a round over these unless one began less than 30 s ago or is still under way. Forgets
   * all others.
   */
  refresh(keys: readonly Key[]): void;
  /** Settles when the round that is under way is over; for tests and the end of a process. */
  settled(): Promise<void>;
}

/** What {@link createDiskWatch} needs. */
export interface DiskWatchOptions<Key> {
  /** Bytes that an instance has written; may reject. */
  readonly measure: (key: Key, signal: AbortSignal) => Promise<number>;
  /** A clock that never goes back, milliseconds. */
  readonly nowMs: () => number;
}

/** Least time between the starts of two rounds, milliseconds: the engine walks every file. */
const ROUND_MS_MIN = 30_000;

/** One measurement may take this long, milliseconds. */
const MEASURE_MS_MAX = 20_000;

/** Measurements at once: the disk is the limit, and it serves the sandboxes too. */
const AT_ONCE = 2;

/** See {@link DiskWatch}. */
export function createDiskWatch<Key>(options: DiskWatchOptions<Key>): DiskWatch<Key> {
  const { measure, nowMs } = options;
  const sizes = new Map<Key, number>();
  let startedMs = Number.NEGATIVE_INFINITY;
  let round: Promise<void> | undefined;

  const work = async (queue: Key[]): Promise<void> => {
    for (let key = queue.shift(); key !== undefined; key = queue.shift()) {
      // An instance that went in between is no concern; the next round asks again.
      const bytes = await measure(key, AbortSignal.timeout(MEASURE_MS_MAX)).catch(() => undefined);
      if (bytes !== undefined) sizes.set(key, bytes);
    }
  };

  return {
    sizeBytes: (key) => sizes.get(key),
    refresh(keys) {
      if (round !== undefined || nowMs() - startedMs < ROUND_MS_MIN) return;
      startedMs = nowMs();
      const wanted = new Set(keys);
      for (const key of sizes.keys()) if (!wanted.has(key)) sizes.delete(key);
      const queue = [...wanted];
      const workers = Array.from({ length: AT_ONCE }, () => work(queue));
      round = Promise.all(workers).then(() => {
        round = undefined;
      });
    },
    settled: () => round ?? Promise.resolve(),
  };
}
