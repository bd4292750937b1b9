import { manualClock, memoryProvider, memoryStore, memoryVendor } from "@soulbox/adapter-memory";
import { beforeEach, describe, expect, it } from "vitest";
import { createControlPlane } from "./control-plane.ts";
import type { SandboxId, TenantId } from "./ids.ts";
import { checkStore } from "./invariants.ts";
import { LIMITS } from "./limits.ts";
import { createMeter } from "./meter.ts";
import type { Caller } from "./ports/keys.ts";
import type { Ports } from "./ports/ports.ts";
import type { Template } from "./ports/templates.ts";
import { reap } from "./reaper.ts";
import { sweep } from "./sweep.ts";
import { after, durationMs } from "./units.ts";

const BASE: Template = {
  id: "base",
  names: ["base"],
  folder: "base",
  args: {},
  resources: { cpuMilli: 1000, memoryMib: 1024, diskMib: 1024 },
};
const { signal } = new AbortController();

function world() {
  const clock = manualClock(1_800_000_000_000);
  const store = memoryStore();
  const vendors = [memoryVendor(), memoryVendor()] as const;
  const providers = (["first", "second"] as const).map((name, index) =>
    memoryProvider({ name, clock, stage: "test", vendor: vendors[index === 0 ? 0 : 1] }),
  );
  let count = 0;
  const ports: Ports = {
    store,
    clock,
    providers,
    stage: "test",
    meter: createMeter({
      id: "test",
      rates: [
        {
          state: "running",
          cpuNanoUsdPerHour: 36_000_000n,
          memoryNanoUsdPerHour: 0n,
          diskNanoUsdPerHour: 0n,
        },
        {
          state: "paused",
          cpuNanoUsdPerHour: 0n,
          memoryNanoUsdPerHour: 3_600_000n,
          diskNanoUsdPerHour: 0n,
        },
      ],
    }),
    agents: { launchEnv: () => ({}), init: async () => "ready" },
    templates: { resolve: () => BASE, list: () => [BASE] },
    newId: () => {
      count += 1;
      return `sb${String(count).padStart(20, "0")}` as SandboxId;
    },
    log: () => {},
  };
  return { clock, store, vendors, ports, controlPlane: createControlPlane(ports) };
}

function callerOf(tenant: string, sandboxCountMax = 10): Caller {
  return { tenantId: tenant as TenantId, scopes: new Set(["sandboxes"]), sandboxCountMax };
}

describe("control plane", () => {
  const acme = callerOf("acme");
  let here: ReturnType<typeof world>;
  const run = async () =>
    here.controlPlane.settle(await here.controlPlane.create(acme, { template: "base" }), signal);

  beforeEach(() => {
    here = world();
  });

  it("charges each state at its own price, to the nano-dollar", async () => {
    const { controlPlane, clock } = here;
    const { id } = await run();
    clock.advance(1000);
    await controlPlane.settle(await controlPlane.pause(acme, id), signal);
    clock.advance(2000);
    await controlPlane.settle(await controlPlane.resume(acme, id), signal);
    clock.advance(500);
    await controlPlane.settle(await controlPlane.terminate(acme, id), signal);

    const { amount, accrued, entries } = await controlPlane.cost(acme, id);

    expect(amount).toBe(10_000n + 2000n + 5000n);
    expect(accrued).toBe(0n);
    expect(entries.filter(({ kind }) => kind === "open")).toHaveLength(3);
  });

  it("goes on at the next provider when one has no room", async () => {
    here.vendors[0].failing = "capacity";

    const sandbox = await run();

    expect(sandbox).toMatchObject({
      state: "running",
      incarnation: 2,
      place: { provider: "second" },
    });
    expect(sandbox.attempts).toMatchObject([{ fault: "capacity", place: { provider: "first" } }]);
  });

  it("says why when no provider could launch it, and charges nothing", async () => {
    here.vendors[0].failing = "capacity";
    here.vendors[1].failing = "capacity";

    await expect(run()).rejects.toMatchObject({ code: "capacity_unavailable" });
    expect(here.store.ledger).toEqual([]);
    expect(await here.store.counters()).toEqual(new Map());
  });

  it("creates once for one idempotency key, and refuses another request under it", async () => {
    const { controlPlane } = here;
    const once = { key: "k", fingerprint: "f" };

    const ids = await Promise.all(
      [1, 2, 3].map(async () => (await controlPlane.create(acme, { template: "base", once })).id),
    );

    expect(new Set(ids).size).toBe(1);
    const other = { template: "base", once: { key: "k", fingerprint: "g" } };
    await expect(controlPlane.create(acme, other)).rejects.toMatchObject({
      code: "idempotency_mismatch",
    });
    await expect(controlPlane.create(callerOf("globex"), other)).resolves.toMatchObject({
      state: "pending",
    });
  });

  it("holds a tenant to its quota and gives it back at the end", async () => {
    const { controlPlane } = here;
    const small = callerOf("small", 1);
    const first = await controlPlane.create(small, { template: "base" });

    await expect(controlPlane.create(small, { template: "base" })).rejects.toMatchObject({
      code: "quota_exceeded",
    });

    await controlPlane.terminate(small, first.id);
    await expect(controlPlane.create(small, { template: "base" })).resolves.toBeDefined();
  });

  it("hides another tenant's sandbox in every call", async () => {
    const { controlPlane, clock } = here;
    const { id } = await run();
    const globex = callerOf("globex");

    for (const call of [
      () => controlPlane.get(globex, id),
      () => controlPlane.pause(globex, id),
      () => controlPlane.resume(globex, id),
      () => controlPlane.extend(globex, id, after(clock.now(), 1000), "set"),
      () => controlPlane.terminate(globex, id),
      () => controlPlane.cost(globex, id),
    ]) {
      await expect(call()).rejects.toMatchObject({ code: "not_found" });
    }
  });

  it("refuses limits of zero, below zero, not a number, and without end", async () => {
    for (const cpuMilli of [0, -1, Number.NaN, Number.POSITIVE_INFINITY, 1.5, 1e12]) {
      const input = { template: "base", resources: { cpuMilli } };
      await expect(here.controlPlane.create(acme, input)).rejects.toMatchObject({
        code: "invalid_request",
      });
    }
    for (const lifetimeMs of [0, -5, Number.NaN, LIMITS.lifetimeMsMax + 1]) {
      const input = { template: "base", lifetimeMs: durationMs(lifetimeMs) };
      await expect(here.controlPlane.create(acme, input)).rejects.toMatchObject({
        code: "invalid_request",
      });
    }
  });

  it("pauses at the expiry when that was asked, and ends otherwise", async () => {
    const { controlPlane, clock, ports } = here;
    const input = { template: "base", lifetimeMs: durationMs(5000) };
    const ends = await controlPlane.settle(await controlPlane.create(acme, input), signal);
    const pausing = { ...input, onExpiry: "pause" as const };
    const pauses = await controlPlane.settle(await controlPlane.create(acme, pausing), signal);
    clock.advance(6000);

    await reap(ports, 10, signal);

    expect(await controlPlane.get(acme, ends.id)).toMatchObject({
      state: "terminated",
      endReason: "expired",
    });
    expect(await controlPlane.get(acme, pauses.id)).toMatchObject({ state: "paused" });
  });

  it("declares a sandbox lost when its instance is gone, and removes an orphan", async () => {
    const { controlPlane, clock, ports, vendors, store } = here;
    const { id } = await run();
    const orphan = [...vendors[0].instances.values()][0];
    clock.advance(60_000);
    vendors[0].instances.clear();
    const launchId = "sb99999999999999999999-1" as const;
    if (orphan !== undefined) {
      vendors[0].instances.set(launchId as typeof orphan.launchId, {
        ...orphan,
        launchId: launchId as typeof orphan.launchId,
        nativeId: "m-99",
      });
    }

    const provider = ports.providers[0];
    const report = provider && (await sweep(ports, provider, "here", signal));

    expect(report).toMatchObject({ lost: 1, orphans: [launchId] });
    expect(vendors[0].instances.size).toBe(0);
    expect(await controlPlane.get(acme, id)).toMatchObject({ state: "failed", endReason: "lost" });
    const snapshot = {
      rows: [...store.rows.values()],
      entries: store.ledger,
      counters: await store.counters(),
      nowMs: clock.now(),
      lateMsMax: 0,
    };
    expect(checkStore(snapshot)).toEqual([]);
  });
});
