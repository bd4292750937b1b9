import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { DatabaseSync } from "node:sqlite";
import { openSqlite, SCHEMA_STEPS, type SchemaStep } from "@soulbox/adapter-sqlite";
import { ControlPlaneError, epochMs, type Sandbox } from "@soulbox/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  aClosing,
  anOnce,
  anOpening,
  aSandbox,
  CREATED_AT_MS,
  creationOf,
  moved,
  moveOf,
} from "./a-sandbox.ts";

let dataDir: string;
beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), "soulbox-disk-"));
});
afterEach(() => rmSync(dataDir, { recursive: true }));

describe("SQLite: the disk", () => {
  it("says that the disk is full, writes nothing by halves, and goes on when there is room", async () => {
    let raw: DatabaseSync | undefined;
    const peek: SchemaStep = (database) => {
      raw = database;
    };
    const sqlite = openSqlite({ dataDir, steps: [...SCHEMA_STEPS, peek] });
    raw?.exec("PRAGMA max_page_count = 64");
    const written: Sandbox[] = [];
    const fill = async (): Promise<never> => {
      for (;;) {
        const row = aSandbox();
        const parts = { entries: [anOpening(row)], once: anOnce({ key: row.id }) };
        const counters = [{ counter: "live", add: 1, max: 1e9 }] as const;
        await sqlite.store.commit(creationOf(row, { ...parts, counters }));
        written.push(row);
      }
    };

    const error = await fill().catch((thrown) => thrown);

    expect(error).toMatchObject({ code: "internal", hint: expect.stringContaining("Make room") });
    expect(error.message).toContain("disk");
    const all = { tenantId: undefined, cursor: undefined, limit: 1000 };
    expect((await sqlite.store.list({ ...all, states: undefined })).items).toHaveLength(
      written.length,
    );
    expect((await sqlite.store.entries(all)).items).toHaveLength(written.length);
    expect((await sqlite.store.counters()).get("live")).toBe(written.length);

    raw?.exec("PRAGMA max_page_count = 100000");
    const [row = aSandbox()] = written;
    await sqlite.store.commit(moveOf(row, moved(row), { entries: [aClosing(row)] }));
    expect((await sqlite.store.get(row.id))?.version).toBe(2);
    sqlite.close();
  });

  it("waits for the disk at every commit", () => {
    let raw: DatabaseSync | undefined;
    const peek: SchemaStep = (database) => {
      raw = database;
    };
    const sqlite = openSqlite({ dataDir, steps: [...SCHEMA_STEPS, peek] });

    expect(raw?.prepare("PRAGMA journal_mode").get()).toEqual({ journal_mode: "wal" });
    expect(raw?.prepare("PRAGMA synchronous").get()).toEqual({ synchronous: 2 });

    sqlite.close();
  });

  it("says which directory can't be written", () => {
    const blocker = join(dataDir, "file");
    writeFileSync(blocker, "");

    const open = () => openSqlite({ dataDir: join(blocker, "data") });

    expect(open).toThrow(ControlPlaneError);
    expect(open).toThrow(`data directory ${join(blocker, "data")} can't be written`);
  });

  it("lets nobody else on the machine read rows", async () => {
    const sqlite = openSqlite({ dataDir: join(dataDir, "made") });
    await sqlite.store.commit(creationOf(aSandbox()));

    for (const path of [join(dataDir, "made"), sqlite.file, `${sqlite.file}-wal`]) {
      expect(statSync(path).mode & 0o077).toBe(0);
    }
    sqlite.close();
  });

  it("forgets old keys and old ends in bounded batches, and nothing else", async () => {
    const keepUntilMs = CREATED_AT_MS;
    const sqlite = openSqlite({ dataDir });
    for (let index = 0; index < 5; index += 1) {
      const ended = aSandbox({ state: "terminated", endedAtMs: epochMs(CREATED_AT_MS + index) });
      await sqlite.store.commit(
        creationOf(ended, {
          once: anOnce({ key: `${index}`, keepUntilMs }),
          entries: [anOpening(ended)],
        }),
      );
    }
    await sqlite.store.commit(creationOf(aSandbox()));
    const old = { nowMs: epochMs(CREATED_AT_MS + 1), endedBeforeMs: epochMs(CREATED_AT_MS + 4) };

    const rounds = [1, 2, 3].map(() => sqlite.prune({ ...old, limit: 3 }));

    expect(rounds).toStrictEqual([
      { onceCount: 3, rowCount: 3 },
      { onceCount: 2, rowCount: 1 },
      { onceCount: 0, rowCount: 0 },
    ]);
    const all = { tenantId: undefined, cursor: undefined, limit: 10 };
    expect((await sqlite.store.list({ ...all, states: undefined })).items).toHaveLength(2);
    expect((await sqlite.store.entries(all)).items).toHaveLength(5);
    sqlite.close();
  });
});
