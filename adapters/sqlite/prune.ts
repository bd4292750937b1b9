import type { EpochMs } from "@soulbox/core";
import type { Connection } from "./connection.ts";

/** What may be forgotten. The ledger never is. */
export interface PruneOptions {
  /** Idempotency records whose time was over before this instant go. */
  readonly nowMs: EpochMs;
  /** Final rows that ended before this instant go; `undefined`, the default, keeps them all. */
  readonly endedBeforeMs?: EpochMs;
  /** Records and rows in one call, each. Keeps the write short: some milliseconds for 1000. */
  readonly limit: number;
}

/** How many were forgotten; when one reaches the limit, there may be more. */
export interface Pruned {
  readonly onceCount: number;
  readonly rowCount: number;
}

/** Forgets what nobody may ask for any more, a bounded batch in one transaction. */
export function prune(connection: Connection, options: PruneOptions): Pruned {
  const { nowMs, endedBeforeMs, limit } = options;
  return connection.write(() => {
    const onces = connection
      .prepare(
        `DELETE FROM once WHERE (tenant_id, key) IN
           (SELECT tenant_id, key FROM once WHERE keep_until_ms < ? ORDER BY keep_until_ms LIMIT ?)`,
      )
      .run(nowMs, limit);
    if (endedBeforeMs === undefined) return { onceCount: Number(onces.changes), rowCount: 0 };
    const rows = connection
      .prepare(
        `DELETE FROM sandbox WHERE id IN
           (SELECT id FROM sandbox WHERE ended_at_ms < ? ORDER BY ended_at_ms LIMIT ?)`,
      )
      .run(endedBeforeMs, limit);
    return { onceCount: Number(onces.changes), rowCount: Number(rows.changes) };
  });
}
