import type { EntryId, LaunchId, SandboxId, TenantId } from "./ids.ts";
import type { Place, Resources } from "./sandbox.ts";
import type { DurationMs, EpochMs, NanoUsd } from "./units.ts";

/** What a paid interval is paid for. */
export type PaidState = "running" | "paused";

/** The rates that apply to one interval, captured when it opens. */
export interface Price {
  /** Id of the price book. */
  readonly book: string;
  /** Per vCPU and hour. */
  readonly cpuNanoUsdPerHour: bigint;
  /** Per GiB of memory and hour. */
  readonly memoryNanoUsdPerHour: bigint;
  /** Per GiB of disk and hour. */
  readonly diskNanoUsdPerHour: bigint;
}

/** A paid interval that has not ended. */
export interface OpenInterval {
  /** Its number within the sandbox, from 1. */
  readonly interval: number;
  readonly state: PaidState;
  readonly openedAtMs: EpochMs;
  readonly price: Price;
}

interface EntryBase {
  readonly id: EntryId;
  readonly sandboxId: SandboxId;
  readonly tenantId: TenantId;
  /** The instant that the entry counts from, not when it was written. */
  readonly atMs: EpochMs;
  readonly incarnation: number;
  /** The paid interval's number within the sandbox, from 1. */
  readonly interval: number;
}

/** One line of the append-only book. Corrections are new lines. */
export type LedgerEntry =
  | (EntryBase & {
      readonly kind: "open";
      readonly state: PaidState;
      readonly resources: Resources;
      readonly place: Place;
      readonly price: Price;
    })
  | (EntryBase & {
      readonly kind: "close";
      readonly billedMs: DurationMs;
      readonly amount: NanoUsd;
    })
  | (EntryBase & {
      readonly kind: "adjust";
      readonly corrects: EntryId;
      readonly amount: NanoUsd;
      readonly why: string;
    });

/** Names an entry: the same move of the same sandbox always posts under the same id. */
export function entryIdOf(
  launchId: LaunchId,
  interval: number,
  kind: LedgerEntry["kind"],
): EntryId {
  return `${launchId}-${interval}-${kind}` as EntryId;
}

const MS_PER_HOUR = 3_600_000n;
const MILLI = 1000n;
const MIB_PER_GIB = 1024n;

/**
 * What `billedMs` of `resources` costs at `price`: exact until one rounding up to a whole
 * nano-dollar at the end.
 */
export function costOf(resources: Resources, price: Price, billedMs: DurationMs): NanoUsd {
  const perHourScaled =
    BigInt(resources.cpuMilli) * price.cpuNanoUsdPerHour * MIB_PER_GIB +
    (BigInt(resources.memoryMib) * price.memoryNanoUsdPerHour +
      BigInt(resources.diskMib) * price.diskNanoUsdPerHour) *
      MILLI;
  const scale = MILLI * MIB_PER_GIB * MS_PER_HOUR;
  return ((perHourScaled * BigInt(billedMs) + scale - 1n) / scale) as NanoUsd;
}

/** Totals over a set of entries. */
export interface Usage {
  readonly billedMs: DurationMs;
  readonly amount: NanoUsd;
  /** Intervals opened in the set and not closed in it. */
  readonly openCount: number;
}

/** Adds up closes and adjustments. Intervals that are still open count nothing yet. */
export function settle(entries: readonly LedgerEntry[]): Usage {
  let billedMs = 0;
  let amount = 0n;
  let openCount = 0;
  for (const entry of entries) {
    if (entry.kind === "open") openCount += 1;
    else amount += entry.amount;
    if (entry.kind === "close") {
      openCount -= 1;
      billedMs += entry.billedMs;
    }
  }
  return { billedMs: billedMs as DurationMs, amount: amount as NanoUsd, openCount };
}
