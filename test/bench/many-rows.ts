import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { memoryProvider, systemClock } from "@soulbox/adapter-memory";
import { openSqlite } from "@soulbox/adapter-sqlite";
import {
  type Caller,
  createControlPlane,
  createMeter,
  type SandboxId,
  type TenantId,
} from "@soulbox/core";
import { PRICES } from "../../functions/prices.ts";
import { resolveTemplate, TEMPLATES } from "../../infra/images/catalogue.ts";
import { median, type Row, timed } from "./measure.ts";

const LIVE = 2000;
const ROUNDS = 60;

/** A control plane over a store of its own, which creates and measures. */
function openWorld() {
  const dataDir = mkdtempSync(join(tmpdir(), "soulbox-bench-"));
  const { store, close } = openSqlite({ dataDir });
  const clock = systemClock();
  let count = 0;
  const controlPlane = createControlPlane({
    store,
    clock,
    meter: createMeter(PRICES),
    providers: [memoryProvider({ name: "memory", clock })],
    agents: { launchEnv: () => ({}), init: async () => "ready" },
    templates: { resolve: resolveTemplate, list: () => TEMPLATES },
    stage: "bench",
    newId: () => {
      count += 1;
      return `sb${String(count).padStart(20, "0")}` as SandboxId;
    },
    log: () => {},
  });
  const create = async () =>
    controlPlane.settle(await controlPlane.create(CALLER, { template: "base" }), SIGNAL);
  return {
    async measure() {
      const samples: number[] = [];
      for (let round = 0; round < ROUNDS; round += 1) samples.push(await timed(create));
      return median(samples.slice(10));
    },
    async fill() {
      while (count < LIVE) await create();
    },
    close() {
      close();
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
}

const CALLER: Caller = {
  tenantId: "bench" as TenantId,
  scopes: new Set(["sandboxes"]),
  sandboxCountMax: 10_000,
};
const SIGNAL = new AbortController().signal;

/** A create with 2,000 live rows in SQLite against one with a few; the provider is memory. */
export async function manyRowsRow(): Promise<Row> {
  // The program gets warm on a store of its own, or the first figure would be the compiler's.
  const warming = openWorld();
  await warming.measure();
  await warming.measure();
  warming.close();
  const world = openWorld();
  const few = await world.measure();
  await world.fill();
  const many = await world.measure();
  world.close();
  const ratio = many / few;
  return {
    what: `create with ${LIVE} live rows (memory provider)`,
    measured: `${many.toFixed(2)} ms`,
    floor: `${few.toFixed(2)} ms`,
    ratio,
    target: "≤ 1.2 × with 1",
    isMet: ratio <= 1.2,
  };
}
