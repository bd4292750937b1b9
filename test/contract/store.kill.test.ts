import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { DatabaseSync } from "node:sqlite";
import type { Readable } from "node:stream";
import { setTimeout as setTimeoutAsync } from "node:timers/promises";
import { lockDataDir, openSqlite } from "@soulbox/adapter-sqlite";
import type { Cursor, Sandbox, Store } from "@soulbox/core";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { aSandbox, CREATED_AT_MS, creationOf } from "./a-sandbox.ts";

const ROUNDS = 12;
const CHILD = join(import.meta.dirname, "store.child.ts");

type Child = ChildProcessByStdio<null, Readable, null>;
let dataDir: string;
let children: Child[];
beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), "soulbox-kill-"));
  children = [];
});
afterEach(() => {
  for (const child of children) child.kill("SIGKILL");
  rmSync(dataDir, { recursive: true });
});

function start(...args: readonly string[]): Child {
  const child = spawn(process.execPath, [CHILD, ...args], { stdio: ["ignore", "pipe", "inherit"] });
  children.push(child);
  return child;
}

describe("SQLite: kill -9", () => {
  it(`loses nothing acknowledged and tears nothing in ${ROUNDS} rounds`, {
    timeout: 120_000,
  }, async () => {
    const seed = Number(process.env.SOULBOX_SEED ?? Date.now() % 1_000_000_007);
    console.log(`kill test: SOULBOX_SEED=${seed}`);
    const random = randomFrom(seed);
    const acknowledged = new Map<string, number>();

    for (let round = 0; round < ROUNDS; round += 1) {
      const fatal = 1 + Math.floor(random() ** 2 * 300);
      await killAfter(
        start("live", dataDir, String(round * 1_000_000)),
        fatal,
        random() * 2,
        acknowledged,
      );

      await expectWhole(acknowledged);
    }

    expect(acknowledged.size).toBeGreaterThan(ROUNDS);
  });
});

describe("SQLite: killed while it opens", () => {
  it("opens again whatever was left of a new database", { timeout: 120_000 }, async () => {
    const random = randomFrom(Number(process.env.SOULBOX_SEED ?? Date.now() % 1_000_000_007));
    for (let round = 0; round < ROUNDS; round += 1) {
      const fresh = join(dataDir, String(round));
      const child = start("live", fresh, "0");
      const exit = once(child, "exit");
      // Making a database takes some milliseconds from the moment its file appears.
      const isThere = () => existsSync(join(fresh, "soulbox.db"));
      await vi.waitUntil(isThere, { timeout: 20_000, interval: 1 });
      await setTimeoutAsync(random() * 12);
      child.kill("SIGKILL");
      await exit;

      const sqlite = openSqlite({ dataDir: fresh });
      const row = aSandbox();
      await sqlite.store.commit(creationOf(row));
      expect(await sqlite.store.get(row.id)).toStrictEqual(row);
      sqlite.close();
    }
  });
});

describe("SQLite: two processes", () => {
  it("lose no move of a row that both change", { timeout: 60_000 }, async () => {
    const row = aSandbox();
    const sqlite = openSqlite({ dataDir });
    await sqlite.store.commit(creationOf(row));

    const writers = [1, 2].map(() => start("raise", dataDir, row.id, "300"));
    const codes = await Promise.all(writers.map((writer) => once(writer, "exit")));

    expect(codes).toStrictEqual([
      [0, null],
      [0, null],
    ]);
    expect(await sqlite.store.get(row.id)).toMatchObject({ tries: 600, version: 601 });
    sqlite.close();
  });

  it("keep apart: a data directory has one server, until it is gone", {
    timeout: 60_000,
  }, async () => {
    const row = aSandbox();
    const holder = start("hold", dataDir);
    await once(holder.stdout, "data");
    const sqlite = openSqlite({ dataDir });
    await sqlite.store.commit(creationOf(row));

    for (let round = 0; round < 3; round += 1) {
      expect(() => lockDataDir(dataDir)).toThrow(
        `process id ${holder.pid} uses the data directory ${dataDir}`,
      );
    }
    const reader = openSqlite({ dataDir, readOnly: true });
    expect(await reader.store.get(row.id)).toStrictEqual(row);
    await expect(reader.store.commit(creationOf(aSandbox()))).rejects.toMatchObject({
      code: "internal",
    });
    const later = aSandbox();
    await sqlite.store.commit(creationOf(later));
    expect(await reader.store.get(later.id)).toStrictEqual(later);
    reader.close();
    sqlite.close();

    holder.kill("SIGKILL");
    await once(holder, "exit");
    const mine = lockDataDir(dataDir);
    expect(() => lockDataDir(dataDir)).toThrow(`process id ${process.pid}`);
    mine.release();
    mine.release();
    lockDataDir(dataDir).release();
  });
});

/** Lets a child write until it has acknowledged `count` commits and a moment more, then kills it. */
async function killAfter(
  child: Child,
  count: number,
  momentMs: number,
  acknowledged: Map<string, number>,
) {
  let seen = 0;
  const exit = once(child, "exit");
  for await (const line of createInterface({ input: child.stdout })) {
    const [id = "", version] = line.split(" ");
    acknowledged.set(id, Number(version));
    seen += 1;
    if (seen === count) setTimeout(() => child.kill("SIGKILL"), momentMs);
  }
  expect(await exit).toStrictEqual([null, "SIGKILL"]);
}

/** Everything acknowledged is there; whatever is there is there with all its parts. */
async function expectWhole(acknowledged: ReadonlyMap<string, number>): Promise<void> {
  const sqlite = openSqlite({ dataDir });
  const rows = await allRows(sqlite.store);
  const byId = new Map<string, Sandbox>(rows.map((row) => [row.id, row]));
  for (const [id, version] of acknowledged) {
    expect(byId.get(id)?.version, id).toBeGreaterThanOrEqual(version);
  }
  for (const row of rows) {
    const query = { tenantId: undefined, sandboxId: row.id, cursor: undefined, limit: 10 };
    const entries = (await sqlite.store.entries(query)).items.map(({ kind }) => kind);
    expect(entries, row.id).toStrictEqual(["open", "close"].slice(0, row.version - 1));
    expect((await sqlite.store.recall(row.tenantId, row.id, CREATED_AT_MS))?.id).toBe(row.id);
  }
  const ahead = rows.filter(({ id, version }) => version > (acknowledged.get(id) ?? 0));
  const live = rows.filter(({ version }) => version < 3).length;
  expect((await sqlite.store.counters()).get("live") ?? 0).toBe(live);
  sqlite.close();
  const raw = new DatabaseSync(sqlite.file, { readOnly: true });
  expect(raw.prepare("PRAGMA integrity_check").all()).toEqual([{ integrity_check: "ok" }]);
  raw.close();
  // A writer is killed with at most one commit that it hadn't reported yet.
  expect(ahead.length).toBeLessThanOrEqual(ROUNDS);
}

async function allRows(store: Store): Promise<readonly Sandbox[]> {
  const rows: Sandbox[] = [];
  let cursor: Cursor | undefined;
  do {
    const page = await store.list({ tenantId: undefined, states: undefined, cursor, limit: 1000 });
    rows.push(...page.items);
    cursor = page.next;
  } while (cursor !== undefined);
  return rows;
}

/** Mulberry32. */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
