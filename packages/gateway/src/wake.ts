import type { Resolution } from "./ports.ts";

/** Wakes paused sandboxes, each once at a time. */
export interface Waker {
  /**
   * Joins the wake under way, or begins one.
   *
   * @throws Error when it fails or takes longer than it may.
   */
  wake(sandboxId: string): Promise<Resolution>;
  /** Stops waiting for all of them. */
  stop(): void;
}

/**
 * @param wake Does the work; see `GatewayPorts.wake`.
 * @param wakeMsMax How long a request waits, milliseconds.
 * @param onBegin Called for each wake that is begun, for counting.
 */
export function createWaker(
  wake: (sandboxId: string, signal: AbortSignal) => Promise<Resolution>,
  wakeMsMax: number,
  onBegin: () => void,
): Waker {
  const underWay = new Map<string, Promise<Resolution>>();
  const stopping = new AbortController();

  function begin(sandboxId: string): Promise<Resolution> {
    onBegin();
    const giveUp = new AbortController();
    const work = wake(sandboxId, AbortSignal.any([stopping.signal, giveUp.signal]));
    return within(work, wakeMsMax).finally(() => {
      underWay.delete(sandboxId);
      giveUp.abort();
    });
  }

  return {
    wake(sandboxId) {
      let wait = underWay.get(sandboxId);
      if (wait === undefined) {
        wait = begin(sandboxId);
        underWay.set(sandboxId, wait);
      }
      return wait;
    },
    stop: () => stopping.abort(new Error("The gateway is stopping")),
  };
}

/**
 * Waits for `work`, but not longer than `ms` milliseconds.
 *
 * @throws Error when the time is over.
 */
export function within<T>(work: Promise<T>, ms: number): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`No answer within ${ms} ms`)), ms);
    work.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
