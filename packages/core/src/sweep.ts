import { isFinal } from "@soulbox/protocol";
import { decide } from "./apply.ts";
import { callProvider } from "./call-provider.ts";
import type { LaunchId } from "./ids.ts";
import { parseLaunchId } from "./ids.ts";
import { LIMITS } from "./limits.ts";
import { settleSandbox } from "./moves.ts";
import type { Ports } from "./ports/ports.ts";
import { instanceOf, type Observation, type Provider } from "./ports/provider.ts";
import { launchOf, type Sandbox } from "./sandbox.ts";
import { elapsed } from "./units.ts";

/** What one sweep of a place found. */
export interface SweepReport {
  readonly instances: number;
  /** Instances that no live row claimed and that were removed. */
  readonly orphans: readonly LaunchId[];
  /** Sandboxes whose instance was gone. */
  readonly lost: number;
  /** False when the provider could not be listed to the end: absences then prove nothing. */
  readonly complete: boolean;
}

/** Rows that should have an instance. `pending` has none yet, and finds out by itself. */
const EMBODIED = ["running", "pausing", "paused", "resuming"] as const;

/**
 * Compares one place with the store, both ways: instances that no live row claims are removed, and
 * rows whose instance is absent are looked at once more and declared lost. A list is only a hint:
 * what is decided is decided on a row read afterwards, and a loss on an inspection after that.
 */
export async function sweep(
  ports: Ports,
  provider: Provider,
  region: string,
  signal: AbortSignal,
): Promise<SweepReport> {
  const seen = new Set<LaunchId>();
  const orphans: LaunchId[] = [];
  let cursor: Parameters<Provider["list"]>[1];
  do {
    const from = cursor;
    const call = { what: "list", limitMs: LIMITS.callMsMax, fields: { region } };
    const page = await callProvider(ports, provider, call, signal, (bounded) =>
      provider.list(region, from, bounded),
    );
    if (!page.ok) return { instances: seen.size, orphans, lost: 0, complete: false };
    for (const observation of page.value.items) {
      const isAlive = observation.phase !== "gone";
      if (isAlive) seen.add(observation.launchId);
      if (await isOrphan(ports, observation)) {
        if (await remove(ports, provider, region, observation, signal)) {
          orphans.push(observation.launchId);
        }
      } else if (isAlive) await keep(ports, provider, observation, signal);
    }
    cursor = page.value.next;
  } while (cursor !== undefined);
  const lost = await findLost(ports, provider, region, seen, signal);
  return { instances: seen.size, orphans, lost, complete: true };
}

/** True when no live row claims the instance, read after it was listed. */
async function isOrphan(ports: Ports, observation: Observation): Promise<boolean> {
  const launch = parseLaunchId(observation.launchId);
  const row = launch && (await ports.store.get(launch.sandboxId));
  if (launch === undefined || row === undefined) {
    const { startedAtMs } = observation;
    if (startedAtMs === undefined) return true;
    return elapsed(startedAtMs, ports.clock.now()) >= LIMITS.orphanGraceMs;
  }
  return isFinal(row.state) || row.incarnation !== launch.incarnation;
}

async function remove(
  ports: Ports,
  provider: Provider,
  region: string,
  observation: Observation,
  signal: AbortSignal,
): Promise<boolean> {
  const { launchId, nativeId } = observation;
  const call = { what: "terminate", limitMs: LIMITS.callMsMax, fields: { launchId } };
  const outcome = await callProvider(ports, provider, call, signal, (bounded) =>
    provider.terminate({ region, launchId, nativeId }, bounded),
  );
  ports.log("orphan.removed", { launchId, provider: provider.name, region, ok: outcome.ok });
  return outcome.ok;
}

/** Records a proof of life when the last is old, ends what broke a measured limit, and mends drift. */
async function keep(
  ports: Ports,
  provider: Provider,
  observation: Observation,
  signal: AbortSignal,
): Promise<void> {
  const launch = parseLaunchId(observation.launchId);
  if (launch === undefined) return;
  const row = await decide(ports, launch.sandboxId, (now) => {
    if (now.incarnation !== launch.incarnation) return undefined;
    if (observation.breach !== undefined) return { kind: "end", reason: "quota" };
    const isStale = elapsed(now.provenAtMs, ports.clock.now()) >= LIMITS.proofMs;
    return isStale ? { kind: "proven" } : undefined;
  });
  if (row.state === "terminating" && observation.breach !== undefined) {
    await settleSandbox(ports, row, signal);
  }
  if (row.incarnation === launch.incarnation) await mend(ports, provider, row, observation, signal);
}

/**
 * Repeats a pause or resume that a late call undid: a call that was given up may still take effect
 * when the sandbox has moved on. Both calls succeed when there is nothing to do.
 */
async function mend(
  ports: Ports,
  provider: Provider,
  row: Sandbox,
  observation: Observation,
  signal: AbortSignal,
): Promise<void> {
  const { suspend } = provider;
  const isFrozen = row.state === "running" && observation.phase === "paused";
  const isThawed = row.state === "paused" && observation.phase === "running";
  if (suspend === undefined || (!isFrozen && !isThawed)) return;
  const instance = instanceOf(row, launchOf(row));
  const what = isFrozen ? "resume" : "pause";
  const call = { what, limitMs: LIMITS.callMsMax, fields: { launchId: instance.launchId } };
  const outcome = await callProvider(ports, provider, call, signal, async (bounded) => {
    await suspend[what](instance, bounded);
  });
  ports.log("sandbox.mended", { sandboxId: row.id, state: row.state, call: what, ok: outcome.ok });
}

async function findLost(
  ports: Ports,
  provider: Provider,
  region: string,
  seen: ReadonlySet<LaunchId>,
  signal: AbortSignal,
): Promise<number> {
  const place = { provider: provider.name, region };
  let lost = 0;
  let cursor: Parameters<typeof ports.store.list>[0]["cursor"];
  do {
    const query = { tenantId: undefined, states: EMBODIED, place, cursor, limit: LIMITS.pageMax };
    const page = await ports.store.list(query);
    for (const row of page.items) {
      if (seen.has(launchOf(row))) continue;
      if (await isLost(ports, provider, row, signal)) lost += 1;
    }
    cursor = page.next;
  } while (cursor !== undefined);
  return lost;
}

/** Inspects an absent instance on a row read just before, and commits its loss when it is gone. */
async function isLost(
  ports: Ports,
  provider: Provider,
  listed: Sandbox,
  signal: AbortSignal,
): Promise<boolean> {
  const row = await ports.store.get(listed.id);
  if (row === undefined || row.incarnation !== listed.incarnation || isFinal(row.state))
    return false;
  const startedMs = elapsed(row.startedAtMs ?? row.createdAtMs, ports.clock.now());
  if (startedMs < provider.traits.readLagMs + LIMITS.clockSkewMs) return false;
  const launchId = launchOf(row);
  const call = { what: "inspect", limitMs: LIMITS.callMsMax, fields: { launchId } };
  const outcome = await callProvider(ports, provider, call, signal, (bounded) =>
    provider.inspect(instanceOf(row, launchId), bounded),
  );
  if (!outcome.ok || outcome.value.phase !== "gone") return false;
  const { endedAtMs } = outcome.value;
  const next = await decide(ports, row.id, (now) =>
    now.version === row.version ? { kind: "gone", endedAtMs } : undefined,
  );
  return isFinal(next.state) && next.endReason === "lost";
}
