import {
  checkStore,
  epochMs,
  isLive,
  isResting,
  type LaunchId,
  launchOf,
  parseLaunchId,
  type SandboxId,
  unclaimed,
} from "@soulbox/core";
import { isFinal } from "@soulbox/protocol";
import { type Journal, SANDBOX_COUNT_MAX, SECRET } from "./clients.ts";
import { PERIODS, SKEW_MS_MAX, type World } from "./world.ts";

/** What an outage of control planes may add to every bound. */
export interface Watch {
  /** Broken promises after the last step; empty = all hold. */
  check(): Promise<readonly string[]>;
  /** Tells that no control plane ran for a while, so that bounds count from now. */
  forgive(): void;
}

/** A batch's own run and a few failed ones in bad weather. */
const PATIENCE_MS = 150_000;

/** A dozen sweeps of either control plane, of which one must get through. */
const DRIFT_MS = 90_000;

/** Checks every invariant after a step; cheap when nothing changed since the last. */
export function createWatch(world: World, journal: Journal): Watch {
  const { timeline, store } = world;
  const strayFromMs = new Map<LaunchId, number>();
  const driftFromMs = new Map<SandboxId, number>();
  const moveFromMs = new Map<SandboxId, { readonly move: string; readonly atMs: number }>();
  const judged = new Set<SandboxId>();
  let seenLogs = 0;
  let forgivenMs = timeline.nowMs;

  function lasts<Key>(
    since: Map<Key, number>,
    now: readonly Key[],
    boundMs: number,
  ): readonly Key[] {
    const present = new Set(now);
    for (const key of since.keys()) if (!present.has(key)) since.delete(key);
    return now.filter((key) => {
      const from = Math.max(since.get(key) ?? timeline.nowMs, forgivenMs);
      since.set(key, since.get(key) ?? timeline.nowMs);
      return timeline.nowMs - from > boundMs;
    });
  }

  function checkWorld(): readonly string[] {
    const found: string[] = [];
    const instances = world.instances();
    for (const launchId of lasts(strayFromMs, unclaimed(store.rows, instances), PATIENCE_MS)) {
      found.push(`I2: instance ${launchId} outlives its row`);
    }
    const launched = new Set<LaunchId>();
    for (const { launchId } of instances) {
      const id = parseLaunchId(launchId)?.sandboxId;
      if (id === undefined || !store.rows.has(id))
        found.push(`I8: ${launchId} runs without a commit`);
      if (launched.has(launchId)) found.push(`I1: ${launchId} has two instances`);
      launched.add(launchId);
    }
    found.push(...checkLosses(launched));
    const drifting: SandboxId[] = [];
    const byLaunch = new Map(instances.map((it) => [it.launchId as string, it]));
    for (const row of store.rows.values()) {
      const instance = byLaunch.get(`${row.id}-${row.incarnation}`);
      const isMissing = isResting(row.state) && instance?.phase !== row.state;
      if (isMissing) drifting.push(row.id);
      if (
        row.agentAddress !== undefined &&
        row.agentAddress !== `memory:${row.id}-${row.incarnation}`
      ) {
        found.push(`I1: ${row.id} is routed to ${row.agentAddress}`);
      }
      if (isFinal(row.state) || isResting(row.state)) moveFromMs.delete(row.id);
      else {
        const move = `${row.state}-${row.incarnation}`;
        const known = moveFromMs.get(row.id);
        if (known?.move !== move) moveFromMs.set(row.id, { move, atMs: timeline.nowMs });
        else if (timeline.nowMs - Math.max(known.atMs, forgivenMs) > 2 * PATIENCE_MS) {
          found.push(`I7: ${row.id} hangs in ${move}`);
        }
      }
    }
    for (const id of lasts(driftFromMs, drifting, DRIFT_MS)) {
      found.push(`I8: ${id} is ${store.rows.get(id)?.state} but its instance is not`);
    }
    return found;
  }

  /** A loss is declared by proof only, and nobody pays for the time after it. */
  function checkLosses(launched: ReadonlySet<LaunchId>): readonly string[] {
    const found: string[] = [];
    for (const row of store.rows.values()) {
      if (row.state !== "failed" || row.endReason !== "lost" || judged.has(row.id)) continue;
      judged.add(row.id);
      const launchId = launchOf(row);
      const deaths = world.deathsOf(launchId);
      // A launch that came late may have made the instance again after its death.
      if (launched.has(launchId) && deaths.length === 0) {
        found.push(`I8: ${row.id} was declared lost while its instance lives`);
      }
      const diedAtMs = deaths.at(-1) ?? Number.POSITIVE_INFINITY;
      const lateMs = (row.endedAtMs ?? 0) - diedAtMs;
      if (lateMs > 2 * SKEW_MS_MAX)
        found.push(`I3: ${row.id} pays for ${lateMs} ms after its death`);
    }
    return found;
  }

  function checkQuota(): readonly string[] {
    const live = Map.groupBy(store.rows.values(), (row) => row.tenantId);
    return [...live]
      .map(([tenant, rows]) => ({ tenant, count: rows.filter((row) => isLive(row.state)).length }))
      .filter(({ count }) => count > SANDBOX_COUNT_MAX)
      .map(({ tenant, count }) => `I9: ${tenant} has ${count} live sandboxes`);
  }

  function checkJournal(): readonly string[] {
    const found = [...journal.violations];
    for (const id of journal.created) {
      if (!store.rows.has(id)) found.push(`I8: the acknowledged sandbox ${id} is lost`);
    }
    for (const id of journal.terminated) {
      const state = store.rows.get(id)?.state;
      if (state !== "terminating" && state !== "terminated" && state !== "failed") {
        found.push(`I8: ${id} is ${state} after its termination was acknowledged`);
      }
    }
    for (const [key, ids] of journal.byKey) {
      if (ids.size > 1) found.push(`I4: ${key} stands for ${[...ids].join(" and ")}`);
    }
    const keys = new Set<string>();
    for (const row of store.rows.values()) {
      const key = row.spec.metadata.key ?? "";
      if (keys.has(key)) found.push(`I4: ${key} made more than one sandbox`);
      keys.add(key);
    }
    return found;
  }

  function checkSecrets(): readonly string[] {
    const fresh = world.logged.slice(seenLogs);
    seenLogs = world.logged.length;
    return fresh.filter((text) => text.includes(SECRET)).map((text) => `I10: logged ${text}`);
  }

  return {
    forgive() {
      forgivenMs = timeline.nowMs;
    },
    async check() {
      const isForgiven = timeline.nowMs - forgivenMs < PATIENCE_MS;
      const lateMsMax = PERIODS.reapMs + SKEW_MS_MAX + PATIENCE_MS + (isForgiven ? PATIENCE_MS : 0);
      const snapshot = {
        rows: [...store.rows.values()],
        entries: store.ledger,
        counters: await store.counters(),
        nowMs: epochMs(timeline.nowMs),
        lateMsMax,
      };
      return [
        ...checkStore(snapshot).map(({ invariant, claim }) => `${invariant}: ${claim}`),
        ...checkWorld(),
        ...checkQuota(),
        ...checkJournal(),
        ...checkSecrets(),
      ];
    },
  };
}
