import type { Random } from "./random.ts";

/** Something that happens at an instant of simulated time. */
interface Happening {
  readonly atMs: number;
  readonly order: number;
  readonly label: string;
  /** Whose it is; it doesn't happen when its owner is gone. */
  readonly owner: Owner | undefined;
  readonly run: () => void;
}

/** A process that can die: what it waits for then never comes. */
export interface Owner {
  alive: boolean;
}

/** Simulated time: a queue of happenings, run one by one. */
export interface Timeline {
  readonly nowMs: number;
  /** How many have happened. */
  readonly count: number;
  /** Happenings so far, newest last, at most `historyMax`. */
  readonly history: readonly string[];
  /** Fingerprint of the whole history. */
  readonly fingerprint: number;
  /** Notes something in the history without an event of its own. */
  note(text: string): void;
  at(delayMs: number, label: string, owner: Owner | undefined, run: () => void): void;
  /** Waits; never returns when `owner` dies meanwhile. */
  wait(delayMs: number, label: string, owner: Owner | undefined): Promise<void>;
  /** Lets time pass in which nothing of interest happens; what was planned shifts with it. */
  skip(ms: number): void;
  /** Runs the next happening and all that follows from it at once. False when none is left. */
  step(): Promise<boolean>;
}

/** Order among happenings of one instant is drawn, so that no outcome leans on it. */
export function createTimeline(random: Random, startMs: number, historyMax: number): Timeline {
  const heap: Happening[] = [];
  const history: string[] = [];
  let nowMs = startMs;
  let count = 0;
  let fingerprint = 0x811c9dc5;
  const note = (text: string): void => {
    const line = `${String(nowMs - startMs).padStart(8)} ${text}`;
    for (let index = 0; index < line.length; index += 1) {
      fingerprint = Math.imul(fingerprint ^ line.charCodeAt(index), 0x01000193) >>> 0;
    }
    history.push(line);
    if (history.length > historyMax) history.shift();
  };
  const at: Timeline["at"] = (delayMs, label, owner, run) => {
    push(heap, { atMs: nowMs + delayMs, order: random.next(), label, owner, run });
  };
  return {
    get nowMs() {
      return nowMs;
    },
    get count() {
      return count;
    },
    history,
    get fingerprint() {
      return fingerprint;
    },
    note,
    at,
    wait: (delayMs, label, owner) => new Promise((resolve) => at(delayMs, label, owner, resolve)),
    skip(ms) {
      nowMs += ms;
      for (const [index, happening] of heap.entries()) {
        heap[index] = { ...happening, atMs: happening.atMs + ms };
      }
    },
    async step() {
      for (;;) {
        const happening = pop(heap);
        if (happening === undefined) return false;
        if (happening.owner?.alive === false) continue;
        nowMs = happening.atMs;
        count += 1;
        if (happening.label !== "") note(happening.label);
        happening.run();
        // One turn of the event loop: every promise that follows from the happening settles in it.
        await new Promise((resolve) => setImmediate(resolve));
        return true;
      }
    },
  };
}

function isBefore(a: Happening, b: Happening): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}

function push(heap: Happening[], added: Happening): void {
  let index = heap.push(added) - 1;
  while (index > 0) {
    const parent = (index - 1) >> 1;
    const above = heap[parent];
    if (above === undefined || isBefore(above, added)) break;
    heap[index] = above;
    index = parent;
  }
  heap[index] = added;
}

function pop(heap: Happening[]): Happening | undefined {
  const first = heap[0];
  const last = heap.pop();
  if (first === undefined || last === undefined || heap.length === 0) return first;
  let index = 0;
  for (;;) {
    let child = 2 * index + 1;
    const left = heap[child];
    const right = heap[child + 1];
    if (left === undefined) break;
    if (right !== undefined && isBefore(right, left)) child += 1;
    const smaller = heap[child];
    if (smaller === undefined || !isBefore(smaller, last)) break;
    heap[index] = smaller;
    index = child;
  }
  heap[index] = last;
  return first;
}
