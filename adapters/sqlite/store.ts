import {
  assert,
  type Change,
  ControlPlaneError,
  type CounterMove,
  type DueKind,
  type EntryQuery,
  isResting,
  type LedgerEntry,
  type Once,
  type OnceRecord,
  type Page,
  quote,
  type Sandbox,
  type SandboxId,
  type Store,
  type TenantId,
} from "@soulbox/core";
import { isFinal } from "@soulbox/protocol";
import { print } from "./codec.ts";
import type { Connection } from "./connection.ts";
import { ENTRY, readDocument, SANDBOX } from "./documents.ts";
import { damaged } from "./faults.ts";
import { listSandboxes } from "./list.ts";
import { checkLimit, FIRST, LAST, pageOf, readCursor } from "./pages.ts";

/** The store port over one database. */
export function sqliteStore(connection: Connection): Store {
  return {
    get: async (id) => connection.read(() => getSandbox(connection, id)),
    commit: async (change) => connection.write(() => commit(connection, change)),
    recall: async (tenantId, key, nowMs) =>
      connection.read(() => {
        const record = recall(connection, tenantId, key);
        if (record === undefined || record.keepUntilMs < nowMs) return undefined;
        return { fingerprint: record.fingerprint, id: record.id };
      }),
    list: async (query) => connection.read(() => listSandboxes(connection, query)),
    due: async (kind, untilMs, limit) =>
      connection.read(() => {
        checkLimit(limit);
        return (connection.prepare(DUE_SQL[kind]).all(untilMs, limit) as { id: SandboxId }[]).map(
          ({ id }) => id,
        );
      }),
    entries: async (query) => connection.read(() => listEntries(connection, query)),
    counters: async () =>
      connection.read(() => {
        const rows = connection.prepare("SELECT name, value FROM counter").all();
        // node:sqlite types rows as loose records; the statement names exactly these columns.
        return new Map((rows as unknown as Counter[]).map(({ name, value }) => [name, value]));
      }),
  };
}

interface Counter {
  readonly name: string;
  readonly value: number;
}

const dueSql = (kind: DueKind) =>
  `SELECT id FROM sandbox INDEXED BY sandbox_due_${kind}
   WHERE due_kind = '${kind}' AND due_at_ms <= ? ORDER BY due_at_ms, id LIMIT ?`;
const DUE_SQL = { expiry: dueSql("expiry"), move: dueSql("move") };

function getSandbox(connection: Connection, id: SandboxId): Sandbox | undefined {
  const row = connection.prepare("SELECT version, doc FROM sandbox WHERE id = ?").get(id);
  if (row === undefined) return undefined;
  const found = { file: connection.file, what: `sandbox ${id}` };
  const sandbox = readDocument(SANDBOX, String(row.doc), found);
  if (sandbox.id === id && sandbox.version === row.version) return sandbox;
  throw damaged(connection.file, `in ${found.what}, the document is another one's`);
}

function commit(connection: Connection, change: Change): void {
  const { before, after, entries, counters, once } = change;
  assert(after.version === (before?.version ?? 0) + 1, "a commit raises the version by one");
  assert(before === undefined || before.id === after.id, "a commit keeps the id");
  assert(before === undefined || before.tenantId === after.tenantId, "a commit keeps the tenant");
  const row = connection.prepare("SELECT version FROM sandbox WHERE id = ?").get(after.id);
  if (row?.version !== before?.version) throw conflict(after.id, row?.version, before?.version);
  if (once !== undefined) putOnce(connection, after, once);
  for (const entry of entries) putEntry(connection, entry);
  for (const move of counters) moveCounter(connection, move);
  putSandbox(connection, after, before === undefined);
}

const COLUMNS = [
  "version",
  "tenant_id",
  "state",
  "provider",
  "region",
  "created_at_ms",
  "due_kind",
  "due_at_ms",
  "ended_at_ms",
  "doc",
  "id",
];
const INSERT_SANDBOX = `INSERT INTO sandbox (${COLUMNS.join(", ")})
  VALUES (${COLUMNS.map(() => "?").join(", ")})`;
const UPDATE_SANDBOX = `UPDATE sandbox SET ${COLUMNS.slice(0, -1)
  .map((column) => `${column} = ?`)
  .join(", ")} WHERE id = ?`;

function putSandbox(connection: Connection, row: Sandbox, isNew: boolean): void {
  connection
    .prepare(isNew ? INSERT_SANDBOX : UPDATE_SANDBOX)
    .run(
      row.version,
      row.tenantId,
      row.state,
      row.place.provider,
      row.place.region,
      row.createdAtMs,
      dueKind(row) ?? null,
      row.dueAtMs ?? null,
      isFinal(row.state) ? (row.endedAtMs ?? null) : null,
      print(SANDBOX, row),
      row.id,
    );
}

function dueKind({ state, dueAtMs }: Sandbox): DueKind | undefined {
  if (dueAtMs === undefined || isFinal(state)) return undefined;
  return isResting(state) ? "expiry" : "move";
}

function putOnce(connection: Connection, row: Sandbox, once: Once): void {
  const record = recall(connection, row.tenantId, once.key);
  if (record !== undefined && record.keepUntilMs >= row.createdAtMs) {
    const detail = `The idempotency key ${quote(once.key)} stands for ${record.id} already.`;
    throw new ControlPlaneError("already_exists", detail);
  }
  connection
    .prepare(
      `INSERT OR REPLACE INTO once (tenant_id, key, fingerprint, sandbox_id, keep_until_ms)
       VALUES (?, ?, ?, ?, ?)`,
    )
    .run(row.tenantId, once.key, once.fingerprint, row.id, once.keepUntilMs);
}

function recall(
  connection: Connection,
  tenantId: TenantId,
  key: string,
): (OnceRecord & { readonly keepUntilMs: number }) | undefined {
  return connection
    .prepare(
      `SELECT fingerprint, sandbox_id AS id, keep_until_ms AS keepUntilMs
       FROM once WHERE tenant_id = ? AND key = ?`,
    )
    .get(tenantId, key) as (OnceRecord & { readonly keepUntilMs: number }) | undefined;
}

function putEntry(connection: Connection, entry: LedgerEntry): void {
  const doc = print(ENTRY, entry);
  const { changes } = connection
    .prepare(
      `INSERT INTO entry (id, sandbox_id, tenant_id, at_ms, doc) VALUES (?, ?, ?, ?, ?)
       ON CONFLICT (id) DO NOTHING`,
    )
    .run(entry.id, entry.sandboxId, entry.tenantId, entry.atMs, doc);
  if (Number(changes) === 1) return;
  const stored = connection.prepare("SELECT doc FROM entry WHERE id = ?").get(entry.id);
  if (stored?.doc === doc) return;
  const detail = `Ledger entry ${entry.id} exists already with other content.`;
  throw new ControlPlaneError("invalid_request", detail);
}

function moveCounter(connection: Connection, { counter, add, max }: CounterMove): void {
  const row = connection.prepare("SELECT value FROM counter WHERE name = ?").get(counter);
  const value = Math.max(0, Number(row?.value ?? 0) + add);
  if (add > 0 && value > max) {
    const detail = `Counter ${quote(counter)} is at its limit of ${max}.`;
    throw new ControlPlaneError("quota_exceeded", detail, { details: { counter, max } });
  }
  if (value === 0) connection.prepare("DELETE FROM counter WHERE name = ?").run(counter);
  else {
    connection
      .prepare("INSERT OR REPLACE INTO counter (name, value) VALUES (?, ?)")
      .run(counter, value);
  }
}

function listEntries(connection: Connection, query: EntryQuery): Page<LedgerEntry> {
  const { limit, tenantId, sandboxId, fromMs = FIRST.ms, untilMs = LAST.ms } = query;
  checkLimit(limit);
  const cursor = readCursor("entries", query.cursor);
  const start = cursor !== undefined && cursor.ms >= fromMs ? cursor : { ms: fromMs, id: "" };
  const index = sandboxId ? "sandbox" : tenantId ? "tenant" : "time";
  const rows = connection
    .prepare(
      `SELECT id, at_ms, doc FROM entry INDEXED BY entry_by_${index}
       WHERE (at_ms, id) > ($startMs, $startId) AND at_ms < $untilMs
       ${sandboxId === undefined ? "" : "AND sandbox_id = $sandboxId"}
       ${tenantId === undefined ? "" : "AND tenant_id = $tenantId"}
       ORDER BY at_ms, id LIMIT $count`,
    )
    .all({
      startMs: start.ms,
      startId: start.id,
      untilMs,
      count: limit + 1,
      ...(sandboxId === undefined ? {} : { sandboxId }),
      ...(tenantId === undefined ? {} : { tenantId }),
    });
  return pageOf("entries", rows, limit, (row) => {
    const id = String(row.id);
    const found = { file: connection.file, what: `ledger entry ${id}` };
    return [{ ms: Number(row.at_ms), id }, readDocument(ENTRY, String(row.doc), found)];
  });
}

function conflict(id: SandboxId, stored: unknown, read: number | undefined): ControlPlaneError {
  const found = stored === undefined ? "does not exist" : `is at version ${stored}`;
  const wanted = read === undefined ? "was to be created" : `was read at ${read}`;
  return new ControlPlaneError("version_conflict", `Sandbox ${id} ${found} but ${wanted}.`);
}
