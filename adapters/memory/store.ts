/**
 * The reference reading of the store port: what a call means, in the fewest words. Holds everything
 * in the process, reads no clock and draws no chance, so that one history gives one result. Used by
 * the simulator and by tests; nothing survives it.
 */
import { isDeepStrictEqual } from "node:util";
import {
  assert,
  type Change,
  ControlPlaneError,
  type Cursor,
  type DueKind,
  type EntryId,
  type EntryQuery,
  type EpochMs,
  isResting,
  type LedgerEntry,
  type ListQuery,
  type Once,
  type Page,
  quote,
  type Sandbox,
  type SandboxId,
  type Store,
  samePlace,
} from "@soulbox/core";
import { isFinal } from "@soulbox/protocol";

/** A store that can be looked into, for invariants. */
export interface MemoryStore extends Store {
  /** Every row ever created, in the order of their creation. Frozen. */
  readonly rows: ReadonlyMap<SandboxId, Sandbox>;
  /** Every entry, in the order of its commit. Frozen. */
  readonly ledger: readonly LedgerEntry[];
}

/** Opens an empty store. Rows that it hands out are frozen; what it is given, it copies. */
export function memoryStore(): MemoryStore {
  const rows = new Map<SandboxId, Sandbox>();
  const ledger: LedgerEntry[] = [];
  const entriesById = new Map<EntryId, LedgerEntry>();
  const counters = new Map<string, number>();
  const onces = new Map<string, Once & { readonly id: SandboxId }>();
  const byCreation = new Ordered();
  const byEntryTime = new Ordered();
  const byDue = { expiry: new Ordered(), move: new Ordered() } satisfies Record<DueKind, Ordered>;

  async function commit({ before, after, entries, counters: moves, once }: Change): Promise<void> {
    assert(after.version === (before?.version ?? 0) + 1, "a commit raises the version by one");
    assert(before === undefined || before.id === after.id, "a commit keeps the id");
    assert(before === undefined || before.tenantId === after.tenantId, "a commit keeps the tenant");
    const stored = rows.get(after.id);
    if (stored?.version !== before?.version) throw conflict(after.id, stored, before);
    const recalled = once && onces.get(`${after.tenantId} ${once.key}`);
    if (recalled !== undefined && recalled.keepUntilMs >= after.createdAtMs) {
      const detail = `The idempotency key ${quote(recalled.key)} stands for ${recalled.id} already.`;
      throw new ControlPlaneError("already_exists", detail);
    }
    const added = new Map<EntryId, LedgerEntry>();
    for (const entry of entries) {
      const other = entriesById.get(entry.id) ?? added.get(entry.id);
      if (other === undefined) added.set(entry.id, own(entry));
      else if (!isDeepStrictEqual(other, own(entry))) {
        const detail = `Ledger entry ${entry.id} exists already with other content.`;
        throw new ControlPlaneError("invalid_request", detail);
      }
    }
    const moved = new Map<string, number>();
    for (const { counter, add, max } of moves) {
      const value = Math.max(0, (moved.get(counter) ?? counters.get(counter) ?? 0) + add);
      if (add > 0 && value > max) {
        const detail = `Counter ${quote(counter)} is at its limit of ${max}.`;
        throw new ControlPlaneError("quota_exceeded", detail, { details: { counter, max } });
      }
      moved.set(counter, value);
    }

    const row = own(after);
    if (stored === undefined) byCreation.add(row.createdAtMs, row.id);
    else queue(stored, "remove");
    queue(row, "add");
    rows.set(row.id, row);
    for (const entry of added.values()) {
      entriesById.set(entry.id, entry);
      ledger.push(entry);
      byEntryTime.add(entry.atMs, entry.id);
    }
    for (const [counter, value] of moved) {
      if (value === 0) counters.delete(counter);
      else counters.set(counter, value);
    }
    if (once) onces.set(`${row.tenantId} ${once.key}`, own({ ...once, id: row.id }));
  }

  function queue(row: Sandbox, change: "add" | "remove"): void {
    const kind = dueKind(row);
    if (kind !== undefined) byDue[kind][change](Number(row.dueAtMs), row.id);
  }

  async function list(query: ListQuery): Promise<Page<Sandbox>> {
    const order = query.order ?? "desc";
    const position = readCursor(`list-${order}`, query.cursor);
    return page(query.limit, `list-${order}`, function* () {
      for (const key of byCreation.walk(order, position, query.createdFromMs)) {
        const row = rows.get(key.id as SandboxId);
        if (row && matches(row, query)) yield [key, row];
      }
    });
  }

  async function entryPage(query: EntryQuery): Promise<Page<LedgerEntry>> {
    const position = readCursor("entries", query.cursor);
    return page(query.limit, "entries", function* () {
      for (const key of byEntryTime.walk("asc", position, query.fromMs)) {
        if (query.untilMs !== undefined && key.ms >= query.untilMs) return;
        const entry = entriesById.get(key.id as EntryId);
        if (!entry || entry.tenantId !== (query.tenantId ?? entry.tenantId)) continue;
        if (entry.sandboxId !== (query.sandboxId ?? entry.sandboxId)) continue;
        yield [key, entry];
      }
    });
  }

  async function due(kind: DueKind, untilMs: EpochMs, limit: number) {
    return page(limit, kind, function* () {
      for (const key of byDue[kind].walk("asc")) {
        if (key.ms > untilMs) return;
        yield [key, key.id as SandboxId];
      }
    }).items;
  }

  return {
    rows,
    ledger,
    get: async (id) => rows.get(id),
    commit,
    recall: async (tenantId, key, nowMs) => {
      const record = onces.get(`${tenantId} ${key}`);
      if (record === undefined || record.keepUntilMs < nowMs) return undefined;
      return { fingerprint: record.fingerprint, id: record.id };
    },
    list,
    due,
    entries: entryPage,
    counters: async () => new Map(counters),
  };
}

/** Which list a row waits in; final rows in none. */
function dueKind({ state, dueAtMs }: Sandbox): DueKind | undefined {
  if (dueAtMs === undefined || isFinal(state)) return undefined;
  return isResting(state) ? "expiry" : "move";
}

function matches(row: Sandbox, query: ListQuery): boolean {
  if (query.tenantId !== undefined && row.tenantId !== query.tenantId) return false;
  if (query.states !== undefined && !query.states.includes(row.state)) return false;
  if (query.place !== undefined && !samePlace(row.place, query.place)) return false;
  if (query.templateId !== undefined && row.spec.templateId !== query.templateId) return false;
  const pairs = new Map(Object.entries(row.spec.metadata));
  return Object.entries(query.metadata ?? {}).every(([key, value]) => pairs.get(key) === value);
}

function conflict(id: SandboxId, stored: Sandbox | undefined, before: Sandbox | undefined) {
  const found = stored === undefined ? "does not exist" : `is at version ${stored.version}`;
  const wanted = before === undefined ? "was to be created" : `was read at ${before.version}`;
  return new ControlPlaneError("version_conflict", `Sandbox ${id} ${found} but ${wanted}.`);
}

type Key = { readonly ms: number; readonly id: string };

/** Ids by instant, then by themselves. */
class Ordered {
  readonly #keys: Key[] = [];

  add(ms: number, id: string): void {
    this.#keys.splice(this.#indexFrom({ ms, id }), 0, { ms, id });
  }

  remove(ms: number, id: string): void {
    this.#keys.splice(this.#indexFrom({ ms, id }), 1);
  }

  /** From just behind `position`, never before `fromMs`. */
  *walk(order: "asc" | "desc", position?: Key, fromMs = Number.NEGATIVE_INFINITY): Generator<Key> {
    if (order === "asc") {
      let index = this.#indexFrom({ ms: fromMs, id: "" });
      const behind = position && { ...position, id: `${position.id}\0` };
      if (behind) index = Math.max(index, this.#indexFrom(behind));
      for (let key = this.#keys[index]; key; key = this.#keys[++index]) yield key;
    } else {
      let index = (position ? this.#indexFrom(position) : this.#keys.length) - 1;
      for (let key = this.#keys[index]; key; key = this.#keys[--index]) {
        if (key.ms < fromMs) return;
        yield key;
      }
    }
  }

  /** Index of the first key that is not before `key`. */
  #indexFrom(key: Key): number {
    let low = 0;
    let high = this.#keys.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const at = this.#keys[middle];
      if (at && (at.ms < key.ms || (at.ms === key.ms && at.id < key.id))) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function page<Item>(limit: number, kind: string, walk: () => Iterable<[Key, Item]>): Page<Item> {
  if (!Number.isInteger(limit) || limit < 1 || limit > 1000) {
    throw new ControlPlaneError("invalid_request", `A page holds 1 to 1000 items, not ${limit}.`);
  }
  const items: Item[] = [];
  let last: Key | undefined;
  for (const [key, item] of walk()) {
    if (last && items.length === limit) {
      return { items, next: `${kind}_${last.ms}_${last.id}` as Cursor };
    }
    items.push(item);
    last = key;
  }
  return { items, next: undefined };
}

function readCursor(kind: string, cursor: Cursor | undefined): Key | undefined {
  if (cursor === undefined) return undefined;
  const match = /^([a-z-]{1,16})_(-?[0-9]{1,16})_([a-z0-9-]{1,80})$/.exec(cursor);
  if (match?.[1] === kind && match[3]) return { ms: Number(match[2]), id: match[3] };
  throw new ControlPlaneError("invalid_request", `${quote(cursor)} is no cursor of this list.`, {
    hint: "Pass `next` of the page before, with the same order.",
  });
}

/** Objects that were copied and frozen to the bottom; parts of rows are shared between versions. */
const owned = new WeakSet<object>();

/** A frozen copy that shares no mutable part with `value`. */
function own<T>(value: T): T {
  if (typeof value !== "object" || value === null || owned.has(value)) return value;
  const copy: object = Array.isArray(value) ? [...value] : { ...value };
  for (const [key, part] of Object.entries(copy)) Reflect.set(copy, key, own(part));
  owned.add(Object.freeze(copy));
  return copy as T;
}
