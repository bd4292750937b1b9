import type { DatabaseSync } from "node:sqlite";

/** "SOUL" in the file's header, so that no other program's database is taken for ours. */
export const APPLICATION_ID = 0x534f554c;

/** Takes a database from one schema version to the next, inside a transaction. */
export type SchemaStep = (database: DatabaseSync) => void;

/**
 * Every version of the schema, oldest first: step 1 makes version 1 of an empty file, step 2 makes
 * version 2 of version 1. A released step never changes. A field that rows gain needs a step that
 * writes it into the documents there are, for the codec is strict.
 *
 * Rows are JSON documents; beside them stand only columns that a query looks up or sorts by.
 */
export const SCHEMA_STEPS: readonly SchemaStep[] = [
  (database) =>
    database.exec(`
      CREATE TABLE sandbox (
        id TEXT NOT NULL PRIMARY KEY,
        version INTEGER NOT NULL,
        tenant_id TEXT NOT NULL,
        state TEXT NOT NULL,
        provider TEXT NOT NULL,
        region TEXT NOT NULL,
        created_at_ms INTEGER NOT NULL,
        due_kind TEXT CHECK (due_kind IN ('expiry', 'move')),
        due_at_ms INTEGER,
        ended_at_ms INTEGER,
        doc TEXT NOT NULL
      ) STRICT;
      CREATE INDEX sandbox_by_time ON sandbox (created_at_ms, id);
      CREATE INDEX sandbox_by_state ON sandbox (state, created_at_ms, id);
      CREATE INDEX sandbox_by_tenant ON sandbox (tenant_id, created_at_ms, id);
      CREATE INDEX sandbox_by_tenant_state ON sandbox (tenant_id, state, created_at_ms, id);
      CREATE INDEX sandbox_by_place ON sandbox (provider, region, state, created_at_ms, id);
      CREATE INDEX sandbox_due_expiry ON sandbox (due_at_ms, id) WHERE due_kind = 'expiry';
      CREATE INDEX sandbox_due_move ON sandbox (due_at_ms, id) WHERE due_kind = 'move';
      CREATE INDEX sandbox_ended ON sandbox (ended_at_ms) WHERE ended_at_ms IS NOT NULL;

      CREATE TABLE entry (
        id TEXT NOT NULL PRIMARY KEY,
        sandbox_id TEXT NOT NULL,
        tenant_id TEXT NOT NULL,
        at_ms INTEGER NOT NULL,
        doc TEXT NOT NULL
      ) STRICT;
      CREATE INDEX entry_by_time ON entry (at_ms, id);
      CREATE INDEX entry_by_tenant ON entry (tenant_id, at_ms, id);
      CREATE INDEX entry_by_sandbox ON entry (sandbox_id, at_ms, id);

      CREATE TABLE counter (
        name TEXT NOT NULL PRIMARY KEY,
        value INTEGER NOT NULL CHECK (value > 0)
      ) STRICT, WITHOUT ROWID;

      CREATE TABLE once (
        tenant_id TEXT NOT NULL,
        key TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        sandbox_id TEXT NOT NULL,
        keep_until_ms INTEGER NOT NULL,
        PRIMARY KEY (tenant_id, key)
      ) STRICT, WITHOUT ROWID;
      CREATE INDEX once_by_end ON once (keep_until_ms);

      CREATE TABLE tenant (
        id TEXT NOT NULL PRIMARY KEY,
        created_at_ms INTEGER NOT NULL,
        doc TEXT NOT NULL
      ) STRICT;
      CREATE INDEX tenant_by_time ON tenant (created_at_ms, id);

      CREATE TABLE api_key (
        hash TEXT NOT NULL PRIMARY KEY,
        id TEXT NOT NULL,
        tenant_id TEXT NOT NULL,
        created_at_ms INTEGER NOT NULL,
        doc TEXT NOT NULL,
        UNIQUE (tenant_id, id)
      ) STRICT;
      CREATE INDEX api_key_by_tenant ON api_key (tenant_id, created_at_ms, id);
    `),
];

/** Brings the database to the last version. One transaction: a step that fails leaves the file as it was. */
export function migrate(database: DatabaseSync, steps: readonly SchemaStep[]): void {
  database.exec("BEGIN IMMEDIATE");
  try {
    // Read under the lock: another process may have been faster.
    for (const step of steps.slice(versionOf(database))) step(database);
    database.exec(`PRAGMA application_id = ${APPLICATION_ID}`);
    database.exec(`PRAGMA user_version = ${steps.length}`);
    database.exec("COMMIT");
  } catch (thrown) {
    if (database.isTransaction) database.exec("ROLLBACK");
    throw thrown;
  }
}

/** Schema version of an open database; 0 when it is empty. */
export function versionOf(database: DatabaseSync): number {
  return numberOf(database, "PRAGMA user_version");
}

/** The single number that a statement gives. */
export function numberOf(database: DatabaseSync, sql: string): number {
  return Number(Object.values(database.prepare(sql).get() ?? {})[0]);
}
