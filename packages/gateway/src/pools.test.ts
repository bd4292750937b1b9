import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createPools, type Lease, type Pools } from "./pools.ts";

const LIMITS = { requestCountMax: 2, upstreamCountMax: 2, idleMs: 8_000, connectMsMax: 1_000 };

let nowMs: number;
let pools: Pools;

beforeEach(() => {
  vi.useFakeTimers();
  nowMs = 0;
  pools = createPools(LIMITS, () => nowMs);
});

afterEach(() => {
  pools.destroy();
  vi.useRealTimers();
});

function acquire(sandboxId: string, launchId = `${sandboxId}-1`): Lease {
  const lease = pools.acquire(sandboxId, { launchId, address: "http://127.0.0.1:1" });
  if (typeof lease === "string") throw new Error(lease);
  return lease;
}

describe("createPools", () => {
  it("keeps one upstream per sandbox and bounds its requests", () => {
    const first = acquire("a");
    const second = acquire("a");

    expect(second.upstream).toBe(first.upstream);
    expect(() => acquire("a")).toThrow("limit");
    first.release();
    first.release();
    acquire("a");
    expect(() => acquire("a")).toThrow("limit");
  });

  it("makes another upstream for another launch, and closes the old one once it is idle", () => {
    const old = acquire("a");

    const young = acquire("a", "a-2");

    expect(young.upstream).not.toBe(old.upstream);
    expect(pools.size).toBe(2);
    expect(old.upstream.pool.destroyed).toBe(false);
    old.release();
    expect(pools.size).toBe(1);
    expect(old.upstream.pool.destroyed).toBe(true);
    expect(young.upstream.pool.destroyed).toBe(false);
  });

  it("makes another upstream after the last was discarded", () => {
    const dead = acquire("a");

    dead.discard();
    const next = acquire("a");
    dead.release();

    expect(next.upstream).not.toBe(dead.upstream);
    expect(dead.upstream.pool.destroyed).toBe(true);
  });

  it("closes what has been idle for long, and nothing that is in use", () => {
    acquire("a");
    acquire("b").release();

    nowMs = LIMITS.idleMs;
    vi.advanceTimersByTime(LIMITS.idleMs);

    expect(pools.size).toBe(1);
    expect(() => acquire("a")).not.toThrow();
  });

  it("makes room by closing the longest idle, else says that it is full", () => {
    acquire("a").release();
    nowMs = 1;
    const b = acquire("b");
    b.release();

    acquire("c");

    expect(pools.size).toBe(2);
    expect(acquire("b").upstream).toBe(b.upstream);
    expect(() => acquire("a")).toThrow("full");
  });

  it("cuts a sandbox's upstreams, retired ones among them", () => {
    const old = acquire("a");
    const young = acquire("a", "a-2");

    pools.cut("a");
    pools.cut("unknown");

    expect(old.upstream.pool.destroyed).toBe(true);
    expect(young.upstream.pool.destroyed).toBe(true);
    old.release();
    young.release();
    expect(pools.size).toBe(0);
  });

  it.each(["ftp://127.0.0.1:1", "nonsense", "unix:/nowhere/at.sock"])(
    "says of the address %s that it can't be connected to",
    (address) => {
      expect(() => pools.acquire("a", { launchId: "a-1", address })).toThrow("No connection to");
      expect(pools.size).toBe(0);
    },
  );
});
