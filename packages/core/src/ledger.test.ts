import { describe, expect, it } from "vitest";
import { costOf, type LedgerEntry, type Price, settle } from "./ledger.ts";
import { durationMs, nanoUsd } from "./units.ts";

const PRICE: Price = {
  book: "test",
  cpuNanoUsdPerHour: 36_000_000n,
  memoryNanoUsdPerHour: 3_600_000n,
  diskNanoUsdPerHour: 0n,
};
const ONE = { cpuMilli: 1000, memoryMib: 1024, diskMib: 0 };

describe("costOf", () => {
  it("charges one hour of one CPU and one GiB at exactly the hourly rates", () => {
    expect(costOf(ONE, PRICE, durationMs(3_600_000))).toBe(39_600_000n);
  });

  it("rounds up once, to a whole nano-dollar", () => {
    expect(costOf({ ...ONE, memoryMib: 0 }, PRICE, durationMs(1))).toBe(10n);
    expect(costOf({ cpuMilli: 1, memoryMib: 0, diskMib: 0 }, PRICE, durationMs(1))).toBe(1n);
  });

  it("charges nothing for no time", () => {
    expect(costOf(ONE, PRICE, durationMs(0))).toBe(0n);
  });

  it("keeps every digit of a century on the largest sandbox", () => {
    const largest = { cpuMilli: 64_000, memoryMib: 524_288, diskMib: 0 };
    const century = durationMs(100 * 365 * 24 * 3_600_000);

    expect(costOf(largest, PRICE, century)).toBe(
      876_000n * (64n * 36_000_000n + 512n * 3_600_000n),
    );
  });
});

describe("settle", () => {
  it("adds closes and adjustments, and counts what is open", () => {
    const base = { sandboxId: "s", tenantId: "t", atMs: 0, incarnation: 1 };
    const entries = [
      { ...base, id: "1", kind: "open", interval: 1, state: "running", price: PRICE },
      { ...base, id: "2", kind: "close", interval: 1, billedMs: 5, amount: nanoUsd(50n) },
      { ...base, id: "3", kind: "adjust", interval: 1, amount: nanoUsd(-20n), why: "refund" },
      { ...base, id: "4", kind: "open", interval: 2, state: "paused", price: PRICE },
    ] as unknown as LedgerEntry[]; // only the members that settle reads

    expect(settle(entries)).toEqual({ billedMs: 5, amount: 30n, openCount: 1 });
  });
});
