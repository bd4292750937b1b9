import { type Clock, type EpochMs, epochMs } from "@soulbox/core";

/** The machine's own time. */
export function systemClock(): Clock {
  return {
    now: () => epochMs(Date.now()),
    sleep: (ms, signal) =>
      new Promise((resolve, reject) => {
        if (signal.aborted) return reject(signal.reason);
        const stop = () => {
          clearTimeout(timer);
          reject(signal.reason);
        };
        const timer = setTimeout(() => {
          signal.removeEventListener("abort", stop);
          resolve();
        }, ms);
        signal.addEventListener("abort", stop, { once: true });
      }),
    timeout: (ms, parent) => AbortSignal.any([AbortSignal.timeout(ms), parent]),
  };
}

/** A clock that stands still until it is told to go on. */
export interface ManualClock extends Clock {
  /**
   * Moves on by `ms` and fires what falls due, earliest first, each at its own instant. What the
   * woken code does next runs after the call: it is settled by promises, which the caller awaits.
   */
  advance(ms: number): void;
  /** Sleeps and timeouts that have not fired. */
  readonly waiting: number;
}

interface Timer {
  readonly atMs: number;
  readonly fire: () => void;
}

/**
 * Time for tests and the simulator: nothing moves it but `advance`.
 *
 * @param startMs Unix time at which it stands first, milliseconds.
 */
export function manualClock(startMs: number): ManualClock {
  let nowMs: EpochMs = epochMs(startMs);
  const timers = new Set<Timer>();

  const arm = (ms: number, signal: AbortSignal, fire: () => void, stop: () => void) => {
    if (signal.aborted) return stop();
    const aborted = () => {
      timers.delete(timer);
      stop();
    };
    const timer: Timer = {
      atMs: nowMs + ms,
      fire: () => {
        timers.delete(timer);
        signal.removeEventListener("abort", aborted);
        fire();
      },
    };
    timers.add(timer);
    signal.addEventListener("abort", aborted, { once: true });
  };

  return {
    now: () => nowMs,
    sleep: (ms, signal) =>
      new Promise((resolve, reject) => arm(ms, signal, resolve, () => reject(signal.reason))),
    timeout: (ms, parent) => {
      const controller = new AbortController();
      const late = () => controller.abort(new DOMException("The wait is over.", "TimeoutError"));
      arm(ms, parent, late, () => controller.abort(parent.reason));
      return controller.signal;
    },
    advance: (ms) => {
      const untilMs = nowMs + ms;
      for (let timer = earliest(timers, untilMs); timer; timer = earliest(timers, untilMs)) {
        nowMs = epochMs(Math.max(nowMs, timer.atMs));
        timer.fire();
      }
      nowMs = epochMs(untilMs);
    },
    get waiting() {
      return timers.size;
    },
  };
}

/** The timer that is due first; of equals the one armed first, as a set keeps its order. */
function earliest(timers: ReadonlySet<Timer>, untilMs: number): Timer | undefined {
  let first: Timer | undefined;
  for (const timer of timers) {
    if (timer.atMs <= untilMs && (first === undefined || timer.atMs < first.atMs)) first = timer;
  }
  return first;
}
