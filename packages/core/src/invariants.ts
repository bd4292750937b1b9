import { isFinal } from "@soulbox/protocol";
import { liveCounter } from "./apply.ts";
import { parseLaunchId, type SandboxId } from "./ids.ts";
import { costOf, entryIdOf, type LedgerEntry } from "./ledger.ts";
import { paidState } from "./meter.ts";
import type { Observation } from "./ports/provider.ts";
import { isLive, isResting, launchOf, type Sandbox } from "./sandbox.ts";
import type { EpochMs } from "./units.ts";

/** One broken promise. */
export interface Violation {
  /** Number of the invariant, `I3` for example; see the package's README. */
  readonly invariant: `I${number}`;
  /** What is wrong, with ids and values. */
  readonly claim: string;
}

/** Everything there is, read at one moment. */
export interface Snapshot {
  readonly rows: readonly Sandbox[];
  readonly entries: readonly LedgerEntry[];
  readonly counters: ReadonlyMap<string, number>;
  readonly nowMs: EpochMs;
  /** How far past its expiry a running row may be: a reaper period and what a batch takes. */
  readonly lateMsMax: number;
}

/** Checks what a store alone can show: I3, I5, I7, I9, and the routable half of I2. */
export function checkStore(snapshot: Snapshot): readonly Violation[] {
  const bySandbox = Map.groupBy(snapshot.entries, (entry) => entry.sandboxId);
  const known = new Set<SandboxId>(snapshot.rows.map((row) => row.id));
  const found: Violation[] = [];
  for (const row of snapshot.rows) {
    found.push(...checkRow(row, snapshot), ...checkLedger(row, bySandbox.get(row.id) ?? []));
  }
  for (const id of bySandbox.keys()) {
    if (!known.has(id)) found.push({ invariant: "I3", claim: `${id} has entries but no row` });
  }
  found.push(...checkCounters(snapshot.rows, snapshot.counters));
  return found;
}

/**
 * Instances that no live row claims. Each may exist for a sweep and its grace (I2), and two live
 * ones of one sandbox that are both claimed break I1.
 */
export function unclaimed(
  rows: ReadonlyMap<SandboxId, Sandbox>,
  instances: readonly Pick<Observation, "launchId" | "phase">[],
): readonly Observation["launchId"][] {
  return instances
    .filter(({ phase }) => phase !== "gone")
    .map(({ launchId }) => launchId)
    .filter((launchId) => {
      const launch = parseLaunchId(launchId);
      const row = launch && rows.get(launch.sandboxId);
      return row === undefined || isFinal(row.state) || launchOf(row) !== launchId;
    });
}

function checkRow(row: Sandbox, { nowMs, lateMsMax }: Snapshot): readonly Violation[] {
  const found: Violation[] = [];
  const claim = (invariant: Violation["invariant"], text: string) =>
    found.push({ invariant, claim: `${row.id} (${row.state}): ${text}` });
  if (isFinal(row.state)) {
    if (row.endReason === undefined) claim("I7", "it is final without a reason");
    if (row.endedAtMs === undefined) claim("I7", "it is final without an end time");
    if (row.dueAtMs !== undefined) claim("I7", "it is final and still due");
    if (row.endReason === "expired" && (row.endedAtMs ?? 0) < row.expiresAtMs) {
      claim("I5", `it expired at ${row.endedAtMs}, before its expiry ${row.expiresAtMs}`);
    }
  } else {
    if (row.dueAtMs === undefined) claim("I7", "nobody will ever look at it");
    if (!isResting(row.state) && row.deadlineMs === undefined) claim("I7", "it has no deadline");
    if (isResting(row.state) && row.dueAtMs !== row.expiresAtMs) {
      claim("I5", `it is due at ${row.dueAtMs}, not at its expiry ${row.expiresAtMs}`);
    }
  }
  if (!isLive(row.state) && row.agentAddress !== undefined)
    claim("I2", "it has ended and is routable");
  if (row.state === "running" && nowMs > row.expiresAtMs + lateMsMax) {
    claim("I5", `it runs ${nowMs - row.expiresAtMs} ms past its expiry`);
  }
  if (row.incarnation < 1 || row.attempts.length > row.incarnation) {
    claim("I1", `incarnation ${row.incarnation} after ${row.attempts.length} failed launches`);
  }
  return found;
}

/** The ledger of one sandbox, counted again from nothing but its entries. */
function checkLedger(row: Sandbox, entries: readonly LedgerEntry[]): readonly Violation[] {
  const found: Violation[] = [];
  const claim = (text: string) => found.push({ invariant: "I3", claim: `${row.id}: ${text}` });
  const opens = entries.filter((entry) => entry.kind === "open");
  const closes = entries.filter((entry) => entry.kind === "close");
  if (opens.length !== row.intervals) {
    claim(`${opens.length} intervals were opened, the row counts ${row.intervals}`);
  }
  let freeFromMs = -Infinity;
  for (const open of opens.toSorted((a, b) => a.interval - b.interval)) {
    const matching = closes.filter((close) => close.interval === open.interval);
    const isOpen = row.billing?.interval === open.interval;
    if (matching.length !== (isOpen ? 0 : 1)) {
      claim(
        `interval ${open.interval} has ${matching.length} closes${isOpen ? " and is open" : ""}`,
      );
    }
    if (open.atMs < freeFromMs) claim(`interval ${open.interval} begins before the last one ended`);
    const close = matching[0];
    if (close === undefined) continue;
    freeFromMs = close.atMs;
    const billedMs = close.atMs - open.atMs;
    if (billedMs !== close.billedMs) {
      claim(`interval ${open.interval} lasted ${billedMs} ms, ${close.billedMs} are billed`);
    }
    const expected = costOf(open.resources, open.price, close.billedMs);
    if (expected !== close.amount) {
      claim(`interval ${open.interval} costs ${expected}, ${close.amount} are posted`);
    }
    const launchId = launchOf({ ...row, incarnation: open.incarnation });
    if (open.id !== entryIdOf(launchId, open.interval, "open")) claim(`${open.id} is misnamed`);
  }
  if (isFinal(row.state) && row.startedAtMs !== undefined && row.endedAtMs !== undefined) {
    const livedMs = row.endedAtMs - row.startedAtMs;
    const billedMs = closes.reduce((sum, close) => sum + close.billedMs, 0);
    if (billedMs !== livedMs) claim(`it lived ${livedMs} ms, ${billedMs} are billed`);
  }
  const last = opens.toSorted((a, b) => b.interval - a.interval)[0];
  if (row.endReason === "expired" && row.endedAtMs !== undefined && last !== undefined) {
    const paidUntilMs = Math.max(row.expiresAtMs, last.atMs);
    if (row.endedAtMs > paidUntilMs)
      claim(`it is billed ${row.endedAtMs - paidUntilMs} ms past its expiry`);
  }
  if (closes.length > opens.length) claim(`${closes.length} closes for ${opens.length} opens`);
  if (paidState(row.state) !== row.billing?.state) {
    claim(`state ${row.state} is paid as ${row.billing?.state ?? "nothing"}`);
  }
  return found;
}

function checkCounters(
  rows: readonly Sandbox[],
  counters: ReadonlyMap<string, number>,
): readonly Violation[] {
  const expected = new Map<string, number>();
  for (const row of rows) {
    if (!isLive(row.state)) continue;
    const counter = liveCounter(row.tenantId);
    expected.set(counter, (expected.get(counter) ?? 0) + 1);
  }
  const names = new Set([...expected.keys(), ...counters.keys()]);
  return [...names]
    .filter((name) => (counters.get(name) ?? 0) !== (expected.get(name) ?? 0))
    .map((name) => ({
      invariant: "I9" as const,
      claim: `counter ${name} is ${counters.get(name) ?? 0}, ${expected.get(name) ?? 0} are live`,
    }));
}
