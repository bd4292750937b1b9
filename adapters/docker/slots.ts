/** Runs a task when a slot is free; the wait for one ends with the signal, the task does not. */
export type Slots = <T>(task: () => Promise<T>, signal: AbortSignal) => Promise<T>;

/** At most `count` tasks at once, the rest in the order of their coming. */
export function createStartSlots(count: number): Slots {
  let free = count;
  const queue = new Set<() => void>();

  const enter = (signal: AbortSignal): Promise<void> => {
    if (free > 0) {
      free -= 1;
      return Promise.resolve();
    }
    return new Promise((resolve, reject) => {
      const leave = () => {
        queue.delete(admit);
        reject(signal.reason);
      };
      const admit = () => {
        signal.removeEventListener("abort", leave);
        resolve();
      };
      queue.add(admit);
      signal.addEventListener("abort", leave, { once: true });
    });
  };

  return async (task, signal) => {
    signal.throwIfAborted();
    await enter(signal);
    try {
      return await task();
    } finally {
      const [next] = queue;
      if (next === undefined) free += 1;
      else {
        queue.delete(next);
        next();
      }
    }
  };
}

/** The promise's outcome, or the signal's reason when it is aborted first. */
export function abortable<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  if (signal.aborted) {
    promise.catch(() => {});
    return Promise.reject(signal.reason);
  }
  return new Promise((resolve, reject) => {
    const stop = () => reject(signal.reason);
    signal.addEventListener("abort", stop, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", stop));
  });
}
