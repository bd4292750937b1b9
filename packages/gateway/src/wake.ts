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
    const signal = AbortSignal.any([stopping.signal, AbortSignal.timeout(wakeMsMax)]);
    return withSignal(wake(sandboxId, signal), signal).finally(() => underWay.delete(sandboxId));
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

/** Waits for `work`, but not past the signal. */
export function withSignal<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = () => reject(signal.reason);
    if (signal.aborted) stop();
    signal.addEventListener("abort", stop, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", stop));
  });
}
