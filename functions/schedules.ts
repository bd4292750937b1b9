import { all, type Batch, type Ports, reap, reconcile, settleSandbox, sweep } from "@soulbox/core";

/** How often the batches run on one machine, milliseconds. */
const PERIODS = {
  reapMs: 1000,
  reconcileMs: 1000,
  sweepMs: 15_000,
  pruneMs: 10 * 60_000,
} as const;
/** Rows that one batch takes. */
const BATCH = 50;
/** States that an effect at the provider is due in. */
const MOVING = ["pending", "pausing", "resuming", "terminating"] as const;
/** Moves finished at the same time after a crash. */
const MOVES_AT_ONCE = 4;

/** Batches that run until they are stopped. */
export interface Schedules {
  /** Ends them and waits for the ones under way. */
  stop(): Promise<void>;
}

/**
 * Repairs what an earlier process left, once and in full. For the one process that has the data
 * directory: whoever held the lease of a move is dead, so no lease is waited for.
 */
export async function recover(ports: Ports, signal: AbortSignal): Promise<void> {
  await finishMoves(ports, signal);
  await sweepAll(ports, signal);
  await drain(() => reap(ports, BATCH, signal));
}

/**
 * Runs reaper, reconciler and sweep, each on its own period, never twice at once.
 *
 * @param prune Lets the store forget what nobody may ask for any more.
 */
export function startSchedules(ports: Ports, prune: () => void): Schedules {
  const stopping = new AbortController();
  const { signal } = stopping;
  const every = async (periodMs: number, what: string, run: () => Promise<unknown>) => {
    while (!signal.aborted) {
      await ports.clock
        .sleep(periodMs as Parameters<Ports["clock"]["sleep"]>[0], signal)
        .catch(() => {});
      if (signal.aborted) return;
      await run().catch((error: unknown) => {
        if (!signal.aborted) ports.log("batch.failed", { what, error: String(error) });
      });
    }
  };
  const loops = [
    every(PERIODS.reapMs, "reap", () => drain(() => reap(ports, BATCH, signal))),
    every(PERIODS.reconcileMs, "reconcile", () => drain(() => reconcile(ports, BATCH, signal))),
    every(PERIODS.sweepMs, "sweep", () => sweepAll(ports, signal)),
    every(PERIODS.pruneMs, "prune", async () => prune()),
  ];
  return {
    async stop() {
      stopping.abort(new Error("The server stops."));
      await Promise.all(loops);
    },
  };
}

async function finishMoves(ports: Ports, signal: AbortSignal): Promise<void> {
  const moving = await all((cursor) =>
    ports.store.list({ tenantId: undefined, states: MOVING, cursor, limit: BATCH }),
  );
  for (let at = 0; at < moving.length; at += MOVES_AT_ONCE) {
    const some = moving.slice(at, at + MOVES_AT_ONCE);
    const done = await Promise.allSettled(some.map((row) => settleSandbox(ports, row, signal)));
    for (const outcome of done) {
      if (outcome.status === "rejected") {
        ports.log("recovery.deferred", { error: String(outcome.reason) });
      }
    }
  }
}

async function sweepAll(ports: Ports, signal: AbortSignal): Promise<void> {
  for (const provider of ports.providers) {
    for (const region of provider.traits.regions) await sweep(ports, provider, region, signal);
  }
}

/** Repeats a batch while it is full, a few times: the next period goes on. */
async function drain(run: () => Promise<Batch>): Promise<void> {
  for (let rounds = 0; rounds < 20; rounds += 1) {
    if (!(await run()).more) return;
  }
}
