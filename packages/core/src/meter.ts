import type { SandboxState } from "@soulbox/protocol";
import { assert } from "./assert.ts";
import {
  costOf,
  entryIdOf,
  type LedgerEntry,
  type OpenInterval,
  type PaidState,
  type Price,
} from "./ledger.ts";
import { launchOf, type Place, type Sandbox } from "./sandbox.ts";
import { type EpochMs, elapsed, epochMs, type NanoUsd, nanoUsd } from "./units.ts";

/** What we charge in one place and state. */
export interface Rate {
  /** Provider it holds for; absent = every one. */
  readonly provider?: string;
  /** Region it holds for; absent = every one. */
  readonly region?: string;
  readonly state: PaidState;
  readonly cpuNanoUsdPerHour: bigint;
  readonly memoryNanoUsdPerHour: bigint;
  readonly diskNanoUsdPerHour: bigint;
}

/** What we charge, as data. The most specific rate wins: region, then provider, then neither. */
export interface PriceBook {
  /** Stamped onto every interval, `2026-11` for example. */
  readonly id: string;
  readonly rates: readonly Rate[];
}

/** The only author of ledger entries. */
export interface Meter {
  /** The price for a place and state; captured when an interval opens, so later changes don't matter. */
  price(place: Place, state: PaidState): Price;
  /**
   * What a state change posts. Pure and deterministic: entry ids derive from launch, interval and
   * kind, so the same change twice posts the same entries.
   *
   * @param boundaryMs The instant up to which the state before is paid and the one after begins.
   */
  post(
    before: Sandbox | undefined,
    next: Sandbox,
    boundaryMs: EpochMs,
  ): { readonly after: Sandbox; readonly entries: readonly LedgerEntry[] };
}

/** What each state is paid as; absent = nothing. A move is paid as the state it comes from. */
const PAID: Readonly<Partial<Record<SandboxState, PaidState>>> = {
  running: "running",
  pausing: "running",
  paused: "paused",
  resuming: "paused",
};

/** What a sandbox in this state pays for; `undefined` = nothing. */
export function paidState(state: SandboxState): PaidState | undefined {
  return PAID[state];
}

/** @throws an assertion when the book has no rate for a state at all: found at start-up. */
export function createMeter(book: PriceBook): Meter {
  for (const state of ["running", "paused"] as const) {
    assert(
      book.rates.some((rate) => rate.state === state && rate.provider === undefined),
      `price book ${book.id} has a general rate for ${state}`,
    );
  }
  const price = (place: Place, state: PaidState): Price => {
    const rate = mostSpecific(book.rates, place, state);
    return {
      book: book.id,
      cpuNanoUsdPerHour: rate.cpuNanoUsdPerHour,
      memoryNanoUsdPerHour: rate.memoryNanoUsdPerHour,
      diskNanoUsdPerHour: rate.diskNanoUsdPerHour,
    };
  };
  return {
    price,
    post(before, next, boundaryMs) {
      const open = before?.billing;
      const wanted = paidState(next.state);
      if (open?.state === wanted) return { after: next, entries: [] };
      const entries: LedgerEntry[] = [];
      if (before !== undefined && open !== undefined) entries.push(close(before, open, boundaryMs));
      if (wanted === undefined) return { after: { ...next, billing: undefined }, entries };
      const interval = next.intervals + 1;
      const billing = {
        interval,
        state: wanted,
        openedAtMs: boundaryMs,
        price: price(next.place, wanted),
      };
      const after = { ...next, intervals: interval, billing };
      entries.push(openEntry(after, billing));
      return { after, entries };
    },
  };
}

/** What the open interval of a sandbox has cost up to `nowMs`; zero when none is open. */
export function accrued(sandbox: Sandbox, nowMs: EpochMs): NanoUsd {
  if (sandbox.billing === undefined) return nanoUsd(0n);
  const untilMs = epochMs(Math.min(nowMs, sandbox.expiresAtMs));
  const billedMs = elapsed(sandbox.billing.openedAtMs, untilMs);
  return costOf(sandbox.resources, sandbox.billing.price, billedMs);
}

function mostSpecific(rates: readonly Rate[], place: Place, state: PaidState): Rate {
  const specificity = (rate: Rate) =>
    (rate.provider === undefined ? 0 : 1) + (rate.region === undefined ? 0 : 2);
  const fitting = rates.filter(
    (rate) =>
      rate.state === state &&
      (rate.provider === undefined || rate.provider === place.provider) &&
      (rate.region === undefined || rate.region === place.region),
  );
  const best = fitting.sort((a, b) => specificity(b) - specificity(a))[0];
  assert(best !== undefined, `there is a rate for ${state}`);
  return best;
}

function openEntry(after: Sandbox, billing: OpenInterval): LedgerEntry {
  return {
    ...entryBase(after, billing.interval, "open", billing.openedAtMs),
    kind: "open",
    state: billing.state,
    resources: after.resources,
    place: after.place,
    price: billing.price,
  };
}

function close(before: Sandbox, open: OpenInterval, atMs: EpochMs): LedgerEntry {
  const billedMs = elapsed(open.openedAtMs, atMs);
  return {
    ...entryBase(before, open.interval, "close", atMs),
    kind: "close",
    billedMs,
    amount: costOf(before.resources, open.price, billedMs),
  };
}

function entryBase(sandbox: Sandbox, interval: number, kind: LedgerEntry["kind"], atMs: EpochMs) {
  return {
    id: entryIdOf(launchOf(sandbox), interval, kind),
    sandboxId: sandbox.id,
    tenantId: sandbox.tenantId,
    atMs,
    incarnation: sandbox.incarnation,
    interval,
  };
}
