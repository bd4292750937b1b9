import type { SandboxState } from "@soulbox/protocol";
import type { Cursor, SandboxId, TenantId } from "../ids.ts";
import type { LedgerEntry } from "../ledger.ts";
import type { Place, Sandbox } from "../sandbox.ts";
import type { EpochMs } from "../units.ts";

/** One page of a list; `next` is `undefined` on the last. */
export interface Page<Item> {
  readonly items: readonly Item[];
  readonly next: Cursor | undefined;
}

/**
 * A counter moved in the same write, each at most once per change. Counters start at 0; lowering one
 * that is 0 leaves it there.
 */
export interface CounterMove {
  readonly counter: string;
  readonly add: 1 | -1;
  /** Largest value after the move; checked when adding. */
  readonly max: number;
}

/** Makes a create repeatable. */
export interface Once {
  /** Chosen by the caller; unique within the tenant. */
  readonly key: string;
  /** Hash of the request, so that another request under the same key is noticed. */
  readonly fingerprint: string;
  /** The record is kept up to and including this instant; a later create may replace it. */
  readonly keepUntilMs: EpochMs;
}

/** One write: all of it or nothing. */
export interface Change {
  /** The row as read; `undefined` = create. Its version must still be the stored one. */
  readonly before: Sandbox | undefined;
  readonly after: Sandbox;
  readonly entries: readonly LedgerEntry[];
  readonly counters: readonly CounterMove[];
  readonly once?: Once;
}

/** What an idempotency key stands for. */
export interface OnceRecord {
  readonly fingerprint: string;
  readonly id: SandboxId;
}

/** Which sandboxes to list. */
export interface ListQuery {
  /** `undefined` = every tenant, for the operator's own work. */
  readonly tenantId: TenantId | undefined;
  /** Only these states; `undefined` = all. */
  readonly states: readonly SandboxState[] | undefined;
  readonly place?: Place;
  readonly templateId?: string;
  /** All pairs must match. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** Created at or after this instant. */
  readonly createdFromMs?: EpochMs;
  /** By creation time, then id. Default `desc`: newest first. */
  readonly order?: "asc" | "desc";
  readonly cursor: Cursor | undefined;
  /** 1 to 1000. A page may be shorter although more follows; `next` alone tells. */
  readonly limit: number;
}

/** Which entries to list, oldest first. */
export interface EntryQuery {
  readonly tenantId: TenantId | undefined;
  readonly sandboxId?: SandboxId;
  /** At or after. */
  readonly fromMs?: EpochMs;
  /** Before. */
  readonly untilMs?: EpochMs;
  readonly cursor: Cursor | undefined;
  readonly limit: number;
}

/** Why a row is due: its life is over, or its move needs another look. */
export type DueKind = "expiry" | "move";

/** All state there is. Nothing else survives a process. */
export interface Store {
  /** Strongly consistent: sees every commit acknowledged before the call. */
  get(id: SandboxId): Promise<Sandbox | undefined>;
  /**
   * Writes the change, durable when it returns. A key that was used is reported before a quota that
   * is full, so that a repeat at the limit is still known for one. An entry that is there already
   * with the same content is accepted. The caller raises `version` by one and never changes the id,
   * the tenant or the creation time.
   *
   * @throws version_conflict when the row is not at `before.version` any more, or exists already;
   *   quota_exceeded when a counter would pass its max; already_exists when the tenant has used
   *   `once.key`; invalid_request when an entry id exists with other content. Nothing is written then.
   */
  commit(change: Change): Promise<void>;
  /** What the tenant's idempotency key stands for. Strongly consistent. */
  recall(tenantId: TenantId, key: string, nowMs: EpochMs): Promise<OnceRecord | undefined>;
  /**
   * May be stale: whoever decides re-reads with `get`.
   *
   * @throws invalid_request for a cursor of another list or order, and for a limit out of bounds.
   */
  list(query: ListQuery): Promise<Page<Sandbox>>;
  /**
   * Ids whose `dueAtMs` is at or before `untilMs`, earliest first: resting rows for `expiry`,
   * moving ones for `move`. May be stale. Cost grows with what is due, not with what there is.
   */
  due(kind: DueKind, untilMs: EpochMs, limit: number): Promise<readonly SandboxId[]>;
  /** Ledger entries, oldest first, ties by id. */
  entries(query: EntryQuery): Promise<Page<LedgerEntry>>;
  /** Every counter that isn't 0. */
  counters(): Promise<ReadonlyMap<string, number>>;
}
