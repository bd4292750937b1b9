/**
 * Everything in one SQLite file, `<data dir>/soulbox.db`, by `node:sqlite`: for one machine. A commit
 * is one transaction in the write-ahead log, on disk when it returns. The idempotency record, the
 * counters and the ledger entries stand in the same file, so "all or nothing" is SQLite's own.
 * Documentation: https://sqlite.org/wal.html, https://nodejs.org/api/sqlite.html.
 */
import type { Keys, Store } from "@soulbox/core";
import { sqliteKeys } from "./keys.ts";
import { openDatabase, type SqliteOptions } from "./open.ts";
import { type Pruned, type PruneOptions, prune } from "./prune.ts";
import { sqliteStore } from "./store.ts";

export { type DataDirLock, lockDataDir } from "./lock.ts";
export type { SqliteOptions } from "./open.ts";
export type { Pruned, PruneOptions } from "./prune.ts";
export { SCHEMA_STEPS, type SchemaStep } from "./schema.ts";

/** An open database. */
export interface Sqlite {
  readonly store: Store;
  readonly keys: Keys;
  /** Path of the database file. */
  readonly file: string;
  /** Forgets what nobody may ask for any more, a bounded batch. */
  prune(options: PruneOptions): Pruned;
  /** How SQLite runs each statement used so far, its text as the key; for tests and diagnosis. */
  plans(): ReadonlyMap<string, readonly string[]>;
  /** Idempotent. */
  close(): void;
}

/**
 * Opens the store and the keys of a data directory; see {@link SqliteOptions} and `openDatabase`
 * for what is refused. Take {@link lockDataDir} first when the process is a server.
 */
export function openSqlite(options: SqliteOptions): Sqlite {
  const connection = openDatabase(options);
  return {
    store: sqliteStore(connection),
    keys: sqliteKeys(connection),
    file: connection.file,
    prune: (what) => prune(connection, what),
    plans: () => connection.plans(),
    close: () => connection.close(),
  };
}
