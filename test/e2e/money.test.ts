import type { LedgerEntryView } from "@soulbox/protocol";
import { Sandbox } from "e2b";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Client, createClient, problemOf } from "./client.ts";
import { cleanUp, freePort, type Program, secretsOf, startReady, temporaryDir } from "./program.ts";

const MS_PER_HOUR = 3_600_000;

let dataDir: string;
let program: Program | undefined;
let client: Client;

beforeAll(async () => {
  dataDir = await temporaryDir();
  program = await startReady({ dataDir, port: await freePort(), providers: "docker" });
  client = createClient(program.url, secretsOf(dataDir).apiKey);
});
afterAll(() => cleanUp(program, dataDir));

/** What an interval costs by the price that its open entry states, in nano-dollars. */
function byHand(open: LedgerEntryView, billedMs: number): number {
  const { price, resources } = open;
  if (price === undefined || resources === undefined) throw new Error(`${open.id} has no price.`);
  const perHour =
    (resources.cpuMilli / 1000) * Number(price.cpuNanoUsdPerHour) +
    (resources.memoryMib / 1024) * Number(price.memoryNanoUsdPerHour) +
    (resources.diskMib / 1024) * Number(price.diskNanoUsdPerHour);
  return Math.ceil((perHour * billedMs) / MS_PER_HOUR - 1e-6);
}

describe("a sandbox's life", () => {
  it("costs what the prices in its open entries say, state by state", async () => {
    const askedMs = Date.now();
    const sandbox = await Sandbox.create({ ...client.sdk, timeoutMs: 120_000 });
    expect((await sandbox.commands.run("echo paid")).stdout).toBe("paid\n");
    await sandbox.pause();
    const whilePaused = await client.cost(sandbox.sandboxId);
    const resumed = await Sandbox.connect(sandbox.sandboxId, client.sdk);
    expect((await resumed.commands.run("echo again")).stdout).toBe("again\n");
    await resumed.kill();
    const goneMs = Date.now();

    const { amountNanoUsd, accruedNanoUsd, entries } = await client.cost(sandbox.sandboxId);
    const opens = entries.filter(({ kind }) => kind === "open");
    const closes = entries.filter(({ kind }) => kind === "close");
    expect(opens.map(({ state }) => state)).toEqual(["running", "paused", "running"]);
    expect(closes).toHaveLength(3);
    let sum = 0;
    let freeFromMs = askedMs;
    for (const open of opens) {
      const close = closes.find(({ interval }) => interval === open.interval);
      const openedMs = Date.parse(open.at);
      const closedMs = Date.parse(close?.at ?? "");
      expect(openedMs).toBeGreaterThanOrEqual(freeFromMs);
      expect(close?.billedMs).toBe(closedMs - openedMs);
      expect(Number(close?.amountNanoUsd)).toBe(byHand(open, closedMs - openedMs));
      expect(open.amountNanoUsd).toBe("0");
      sum += Number(close?.amountNanoUsd);
      freeFromMs = closedMs;
    }
    expect(freeFromMs).toBeLessThanOrEqual(goneMs);
    expect(Number(amountNanoUsd)).toBe(sum);
    expect(accruedNanoUsd).toBe("0");
    // Nothing is charged between the states, and a pause costs far less than running does.
    expect(Date.parse(opens[1]?.at ?? "")).toBe(Date.parse(closes[0]?.at ?? ""));
    expect(Number(opens[1]?.price?.cpuNanoUsdPerHour)).toBe(0);
    expect(whilePaused.entries.filter(({ kind }) => kind === "close")).toHaveLength(1);

    const inLedger = (await client.ledger()).filter((it) => it.sandboxId === sandbox.sandboxId);
    const byId = (a: LedgerEntryView, b: LedgerEntryView) => a.id.localeCompare(b.id);
    expect(inLedger.toSorted(byId)).toEqual(entries.toSorted(byId));
    const usage = await client.call("GET", "/v1/usage");
    expect(usage.body).toMatchObject({ amountNanoUsd: String(sum), openCount: 0 });
  });
});

describe("a create that fails", () => {
  it("is not charged when its template doesn't exist", async () => {
    const before = await client.ledger();

    const answer = await client.create({ body: { template: "no-such-template" } });
    expect(answer.status).toBe(404);
    expect(problemOf(answer)).toMatchObject({ code: "not_found" });
    await expect(Sandbox.create("no-such-template", client.sdk)).rejects.toMatchObject({
      statusCode: 404,
    });

    expect(await client.ledger()).toEqual(before);
  });

  it("is not charged when the engine is too small for it", async () => {
    const before = await client.ledger();

    const answer = await client.create({ body: { resources: { memoryMib: 512 * 1024 } } });

    expect(answer.status).toBe(422);
    expect(problemOf(answer)).toMatchObject({ code: "unsupported" });
    expect(await client.ledger()).toEqual(before);
  });
});
