import { setTimeout as delay } from "node:timers/promises";
import { all, isLive, launchOf, type Sandbox as Row } from "@soulbox/core";
import { isFinal, type LedgerEntryView } from "@soulbox/protocol";
import { Sandbox } from "e2b";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openForReading } from "../../functions/compose.ts";
import { type Client, createClient } from "./client.ts";
import { type Order, place, work } from "./load.ts";
import {
  cleanUp,
  containersOf,
  freePort,
  type Program,
  type ProgramOptions,
  poll,
  printed,
  runScript,
  secretsOf,
  startReady,
  startServing,
  temporaryDir,
} from "./program.ts";

const KILLS = 10;
const CLIENTS = 3;
/** The server dies at any moment of this span after its first answer: recovery and proof included. */
const ROUND_MS = { min: 200, max: 2200 } as const;
/** Recovery, a sweep, and the grace of orphans. */
const SETTLE_MS_MAX = 60_000;

describe("a server that is killed ten times under load", () => {
  let dataDir: string;
  let options: ProgramOptions;
  let program: Program | undefined;
  let client: Client;
  let kept: Sandbox;
  let keptToken: string | null | undefined;
  const books: Order[][] = Array.from({ length: CLIENTS }, () => []);
  const orders = () => books.flat();

  beforeAll(async () => {
    dataDir = await temporaryDir();
    options = { dataDir, port: await freePort(), providers: "docker" };
    program = await startReady(options);
    client = createClient(program.url, secretsOf(dataDir).apiKey);
    kept = await client.sandbox({ lifetimeMs: 900_000 });
    keptToken = (await client.get(kept.sandboxId)).agent?.accessToken;
    await kept.files.write("/home/user/note", "before the first kill");
    for (let kill = 0; kill < KILLS; kill += 1) {
      if (kill > 0) program = await startServing(options);
      const stopping = new AbortController();
      const working = Promise.all(
        books.map((book, at) => work(client, `client-${at}`, book, stopping.signal)),
      );
      working.catch(() => {});
      await delay(ROUND_MS.min + Math.random() * (ROUND_MS.max - ROUND_MS.min));
      stopping.abort();
      expect(await program.kill("SIGKILL")).toBe("SIGKILL");
      await working;
    }
    program = await startServing(options);
    await printed(program, /^SoulBox is ready on/m);
  });
  afterAll(() => cleanUp(program, dataDir));

  it("was given work", () => {
    const acknowledged = orders().filter(({ id }) => id !== undefined);
    const ended = orders().filter(({ end }) => end === "acknowledged");
    expect(acknowledged.length).toBeGreaterThanOrEqual(KILLS);
    expect(ended.length).toBeGreaterThanOrEqual(CLIENTS);
  });

  it("settles every sandbox, and agrees with the engine on which are there", async () => {
    const [live, there] = await poll("rows and containers to agree", SETTLE_MS_MAX, async () => {
      const rows = await rowsOf(dataDir);
      const containers = await containersOf(dataDir);
      const isSettled = rows.every(({ state }) => state === "running" || isFinal(state));
      const live = rows
        .filter((row) => isLive(row.state))
        .map(launchOf)
        .toSorted();
      const there = containers.map(({ launchId }) => launchId).toSorted();
      return isSettled && live.join() === there.join() ? ([live, there] as const) : undefined;
    });

    expect(there).toEqual(live);
    expect(live.length).toBeGreaterThan(0);
  });

  it("has lost no acknowledged create and no acknowledged end", async () => {
    for (const { id, end } of orders()) {
      if (id === undefined) continue;
      const row = await client.get(id);
      if (end === "no") expect(row).toMatchObject({ id, state: "running" });
      if (end === "acknowledged") {
        expect(row).toMatchObject({ id, state: "terminated", endReason: "requested" });
      }
      if (end === "asked" && row.state !== "running") {
        expect(row).toMatchObject({ state: "terminated", endReason: "requested" });
      }
    }
  });

  it("answers a repeated create with the same sandbox", async () => {
    const acknowledged = orders().filter(({ id }) => id !== undefined);
    for (const { idempotencyKey, id } of acknowledged) {
      const again: Order = { idempotencyKey, id: undefined, end: "no" };
      await place(client, again);
      expect(again.id).toBe(id);
    }
  });

  it("made one sandbox for each key, whether its create was answered or not", async () => {
    for (const order of orders().filter(({ id }) => id === undefined)) await place(client, order);

    const listed = (await client.list()).map(({ id }) => id).toSorted();

    expect(listed).toEqual([...orders().map(({ id }) => id), kept.sandboxId].toSorted());
  });

  it("charges each sandbox's time once, and only while it ran", async () => {
    const entries = await client.ledger();
    const bySandbox = Map.groupBy(entries, ({ sandboxId }) => sandboxId);
    for (const row of await client.list()) {
      const own = bySandbox.get(row.id) ?? [];
      const opens = own.filter(({ kind }) => kind === "open");
      const closes = own.filter(({ kind }) => kind === "close");
      const openCount = row.state === "running" ? 1 : 0;
      expect(opens.length - closes.length, row.id).toBe(openCount);
      expect(new Set(own.map(({ id }) => id)).size).toBe(own.length);
      if (isFinal(row.state)) expect(billedMs(closes), row.id).toBe(livedMs(row));
    }
    expect(new Set(entries.map(({ id }) => id)).size).toBe(entries.length);
  });

  it("keeps every invariant of its store", async () => {
    const check = await runScript("functions/verify.ts", [dataDir]);

    expect(check.output).toContain("every invariant holds");
    expect(check.exit).toBe(0);
  });

  it("still serves the sandbox from before the first kill, by the same token", async () => {
    expect((await client.get(kept.sandboxId)).agent?.accessToken).toBe(keptToken);
    expect((await kept.commands.run("cat note")).stdout).toBe("before the first kill");

    const again = await Sandbox.connect(kept.sandboxId, client.sdk);

    expect((await again.commands.run("echo back")).stdout).toBe("back\n");
  });

  it("stops cleanly after all of it", async () => {
    expect(await program?.kill("SIGTERM")).toBe(0);
    expect(await containersOf(dataDir)).toEqual([]);
    expect(await runScript("functions/verify.ts", [dataDir])).toMatchObject({ exit: 0 });
  });
});

/** Every row, those of the server's own proofs included. */
async function rowsOf(dataDir: string): Promise<readonly Row[]> {
  const { store, close } = openForReading(dataDir);
  try {
    return await all((cursor) =>
      store.list({ tenantId: undefined, states: undefined, cursor, limit: 1000 }),
    );
  } finally {
    close();
  }
}

function billedMs(closes: readonly LedgerEntryView[]): number {
  return closes.reduce((sum, close) => sum + (close.billedMs ?? 0), 0);
}

function livedMs(row: {
  readonly startedAt: string | null;
  readonly endedAt: string | null;
}): number {
  if (row.startedAt === null || row.endedAt === null) return 0;
  return Date.parse(row.endedAt) - Date.parse(row.startedAt);
}
