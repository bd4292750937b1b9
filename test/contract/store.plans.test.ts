import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { DatabaseSync } from "node:sqlite";
import { openSqlite, SCHEMA_STEPS, type SchemaStep } from "@soulbox/adapter-sqlite";
import { epochMs, type ListQuery, type Store } from "@soulbox/core";
import { STATES } from "@soulbox/protocol";
import { expect, it } from "vitest";
import {
  aClosing,
  aMarked,
  anOnce,
  anOpening,
  aPlace,
  aSandbox,
  aTenantId,
  creationOf,
  moved,
  moveOf,
} from "./a-sandbox.ts";

it("answers every query of the ports from an index, without scanning or sorting", async () => {
  const dataDir = mkdtempSync(join(tmpdir(), "soulbox-plans-"));
  const sqlite = openSqlite({ dataDir });
  try {
    await useEverything(sqlite.store);
    await sqlite.keys.listTenants(undefined, 1);
    await sqlite.keys.listKeys(aTenantId(), undefined, 1);
    await sqlite.keys.find("x");
    await sqlite.keys.removeKey(aTenantId(), "x");
    sqlite.prune({ nowMs: epochMs(0), endedBeforeMs: epochMs(0), limit: 10 });

    const plans = sqlite.plans();

    expect(plans.size).toBeGreaterThan(30);
    for (const [sql, steps] of plans) {
      // All counters are wanted, so all are read.
      if (sql === "SELECT name, value FROM counter") continue;
      for (const step of steps) expect(step, sql).not.toMatch(/^SCAN|TEMP B-TREE/);
    }
  } finally {
    sqlite.close();
    rmSync(dataDir, { recursive: true });
  }
});

it("looks at a bounded number of rows while it searches for what no index knows", async () => {
  const dataDir = mkdtempSync(join(tmpdir(), "soulbox-plans-"));
  let raw: DatabaseSync | undefined;
  const peek: SchemaStep = (database) => {
    raw = database;
  };
  const sqlite = openSqlite({ dataDir, steps: [...SCHEMA_STEPS, peek] });
  // Nothing here has to survive a power cut, and 2,100 waits for the disk take a while.
  raw?.exec("PRAGMA synchronous = OFF");
  try {
    const wanted = aMarked({ wanted: "yes" }, { createdAtMs: epochMs(0) });
    await sqlite.store.commit(creationOf(wanted));
    for (let index = 1; index <= 2100; index += 1) {
      await sqlite.store.commit(creationOf(aSandbox({ createdAtMs: epochMs(index) })));
    }

    const query = { tenantId: undefined, states: undefined, metadata: { wanted: "yes" }, limit: 1 };
    const pages = [await sqlite.store.list({ ...query, cursor: undefined })];
    for (let cursor = pages[0]?.next; cursor; cursor = pages.at(-1)?.next) {
      pages.push(await sqlite.store.list({ ...query, cursor }));
    }

    expect(pages.map(({ items }) => items.length)).toStrictEqual([0, 0, 1]);
    expect(pages[2]?.items).toStrictEqual([wanted]);
  } finally {
    sqlite.close();
    rmSync(dataDir, { recursive: true });
  }
});

async function useEverything(store: Store): Promise<void> {
  const row = aSandbox();
  const parts = { entries: [anOpening(row), aClosing(row)], once: anOnce() };
  await store.commit(creationOf(row, { ...parts, counters: [{ counter: "c", add: 1, max: 1 }] }));
  await store.commit(
    moveOf(row, moved(row), {
      entries: [anOpening(row)],
      counters: [{ counter: "c", add: -1, max: 1 }],
    }),
  );
  await store.recall(row.tenantId, "key", row.createdAtMs);
  await store.due("expiry", row.createdAtMs, 1);
  await store.due("move", row.createdAtMs, 1);
  await store.counters();
  const page = { cursor: undefined, limit: 1 };
  const [tenantId, place] = [row.tenantId, aPlace()];
  for (const order of ["asc", "desc"] as const) {
    for (const count of [undefined, 1, 2, STATES.length]) {
      const states = count === undefined ? undefined : STATES.slice(0, count);
      const filters: readonly Partial<ListQuery>[] = [
        {},
        { tenantId },
        { place },
        { tenantId, place },
      ];
      for (const filter of filters) {
        await store.list({ tenantId: undefined, states, order, ...filter, ...page });
      }
    }
  }
  await store.entries({ tenantId: undefined, ...page });
  await store.entries({ tenantId, ...page });
  await store.entries({ tenantId: undefined, sandboxId: row.id, ...page });
  await store.entries({ tenantId, sandboxId: row.id, ...page });
}
