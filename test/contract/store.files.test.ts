import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { openSqlite, SCHEMA_STEPS, type SchemaStep } from "@soulbox/adapter-sqlite";
import { ControlPlaneError, epochMs, type Sandbox } from "@soulbox/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { anOpening, aSandbox, CREATED_AT_MS, creationOf } from "./a-sandbox.ts";
import { refuses } from "./refuses.ts";

let dataDir: string;
let file: string;
beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), "soulbox-files-"));
  file = join(dataDir, "soulbox.db");
});
afterEach(() => rmSync(dataDir, { recursive: true }));

describe("SQLite: versions", () => {
  it("brings an older file forward and keeps a copy of it", async () => {
    const row = await makeOne();
    const toNext: SchemaStep = (database) =>
      database.exec("UPDATE sandbox SET doc = json_set(doc, '$.tries', 42)");

    const next = openSqlite({ dataDir, steps: [...SCHEMA_STEPS, toNext] });

    expect(await next.store.get(row.id)).toStrictEqual({ ...row, tries: 42 });
    next.close();
    const copy = join(dataDir, `soulbox.db.v${SCHEMA_STEPS.length}.bak`);
    expect(versionIn(file)).toBe(SCHEMA_STEPS.length + 1);
    expect(versionIn(copy)).toBe(SCHEMA_STEPS.length);
    const old = new DatabaseSync(copy, { readOnly: true });
    expect(old.prepare("SELECT json_extract(doc, '$.tries') AS tries FROM sandbox").get()).toEqual({
      tries: 0,
    });
    old.close();
  });

  it("leaves the file as it was when a step fails, and takes the next try", async () => {
    const row = await makeOne();
    const failing: SchemaStep = (database) => {
      database.exec("DROP TABLE sandbox");
      throw new Error("the step broke");
    };

    for (let round = 0; round < 2; round += 1) {
      expect(() => openSqlite({ dataDir, steps: [...SCHEMA_STEPS, failing] })).toThrow(
        "the step broke",
      );
    }

    const sqlite = openSqlite({ dataDir });
    expect(await sqlite.store.get(row.id)).toStrictEqual(row);
    sqlite.close();
  });

  it("refuses a file of a newer program and doesn't touch it", async () => {
    openSqlite({ dataDir, steps: [...SCHEMA_STEPS, () => {}] }).close();

    refusesUntouched(`this SoulBox knows up to ${SCHEMA_STEPS.length}`);
    expect(readdirSync(dataDir)).toStrictEqual(["soulbox.db"]);
  });

  it("refuses a newer file whose version is in the log only", async () => {
    await makeOne();
    const newer = new DatabaseSync(file);
    newer.exec("PRAGMA wal_autocheckpoint = 0; PRAGMA user_version = 99");

    const error = openError();
    newer.close();

    expect(error?.message).toContain("schema version 99");
    expect(versionIn(file)).toBe(99);
  });

  it("refuses the database of another program and doesn't touch it", () => {
    const other = new DatabaseSync(file);
    other.exec("CREATE TABLE sandbox (id TEXT)");
    other.close();

    refusesUntouched("database of another program");
  });

  it("lets a reader in neither to an older file nor to none", async () => {
    expect(openError({ readOnly: true })?.code).toBe("not_found");
    expect(readdirSync(dataDir)).toStrictEqual([]);
    await makeOne();

    const steps = [...SCHEMA_STEPS, () => {}];
    expect(openError({ readOnly: true, steps })?.hint).toContain("Start the server once");
  });
});

describe("SQLite: damage", () => {
  const damages: readonly [string, () => void][] = [
    ["text instead of a database", () => writeFileSync(file, "not a database\n".repeat(500))],
    ["one byte", () => writeFileSync(file, "S")],
    ["zeros instead of a header", () => overwrite(0, Buffer.alloc(100))],
    ["half a file", () => truncateSync(file, statSync(file).size >> 1)],
    ["a file cut within a page", () => truncateSync(file, statSync(file).size - 1000)],
    ["noise in the middle", () => overwrite(4096 * 3, Buffer.alloc(4096 * 10, 0xa5))],
  ];

  it.each(damages)(
    "refuses %s, says how to repair it and leaves it as it is",
    async (_, damage) => {
      await makeOne(20);
      damage();

      const error = refusesUntouched("is damaged");

      expect(error?.message).toContain(file);
      expect(error?.hint).toMatch(/copy .* aside.*restore a backup.*\.recover/i);
    },
  );

  it("names the sandbox whose document can't be read, shows nothing of it, and serves the others", async () => {
    const row = await makeOne(2);
    const raw = new DatabaseSync(file);
    raw
      .prepare(
        "UPDATE sandbox SET doc = json_set(doc, '$.spec.env', json('{\"A\": 12345}')) WHERE id = ?",
      )
      .run(row.id);
    raw.close();
    const sqlite = openSqlite({ dataDir });

    const error = await sqlite.store.get(row.id).catch((thrown) => thrown);
    const due = await sqlite.store.due("expiry", epochMs(CREATED_AT_MS + 1e9), 10);
    const others = await Promise.all(due.filter((id) => id !== row.id).map(sqlite.store.get));
    sqlite.close();

    expect(error).toMatchObject({ code: "internal" });
    expect(error.message).toMatch(`in sandbox ${row.id}, spec.env is not an object of texts`);
    expect(error.message).not.toContain("12345");
    expect(others).toHaveLength(1);
  });

  it("notices a document that stands in another row", async () => {
    const row = await makeOne(2);
    const raw = new DatabaseSync(file);
    raw
      .prepare("UPDATE sandbox SET doc = (SELECT doc FROM sandbox WHERE id <> ?) WHERE id = ?")
      .run(row.id, row.id);
    raw.close();
    const sqlite = openSqlite({ dataDir });

    await refuses(sqlite.store.get(row.id), "internal");

    sqlite.close();
  });
});

/** Makes a database of `count` rows and gives one of them. */
async function makeOne(count = 1): Promise<Sandbox> {
  const sqlite = openSqlite({ dataDir });
  const rows = Array.from({ length: count }, () => aSandbox());
  for (const row of rows) await sqlite.store.commit(creationOf(row, { entries: [anOpening(row)] }));
  sqlite.close();
  return rows[0] ?? aSandbox();
}

function openError(options: Partial<Parameters<typeof openSqlite>[0]> = {}) {
  try {
    openSqlite({ dataDir, ...options }).close();
  } catch (thrown) {
    if (thrown instanceof ControlPlaneError) return thrown;
    throw thrown;
  }
  return undefined;
}

/** Opens three times for writing and once for reading: every time the same error, never a trace. */
function refusesUntouched(message: string): ControlPlaneError | undefined {
  const before = readFileSync(file);
  let error: ControlPlaneError | undefined;
  for (const readOnly of [false, false, false, true]) {
    error = openError({ readOnly });
    expect(error?.code).toBe("internal");
    expect(error?.message).toContain(message);
    expect(readFileSync(file).equals(before)).toBe(true);
  }
  return error;
}

function overwrite(at: number, bytes: Buffer): void {
  const content = readFileSync(file);
  bytes.copy(content, at);
  writeFileSync(file, content);
}

function versionIn(path: string): unknown {
  const database = new DatabaseSync(path, { readOnly: true });
  const version = database.prepare("PRAGMA user_version").get()?.user_version;
  database.close();
  return version;
}
