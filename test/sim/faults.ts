import type { MemoryStore } from "@soulbox/adapter-memory";
import {
  ControlPlaneError,
  type LaunchId,
  type Observation,
  type Provider,
  type ProviderFault,
  type Sandbox,
  type SandboxId,
  type Store,
} from "@soulbox/core";
import type { Random } from "./random.ts";
import type { Owner, Timeline } from "./timeline.ts";

/** How often each thing goes wrong, as probabilities per call; 0 everywhere = a perfect world. */
export interface Weather {
  /** A provider call that never reaches the provider. */
  readonly lost: number;
  /** One that takes effect although its answer is lost. */
  readonly unanswered: number;
  /** One that takes effect only after the caller gave up. */
  readonly late: number;
  /** One that takes effect twice. */
  readonly repeated: number;
  readonly throttled: number;
  readonly noCapacity: number;
  /** A read that shows the past, within the provider's declared lag. */
  readonly stale: number;
  /** A commit refused for a conflict that nobody else sees. */
  readonly conflict: number;
  /** A commit that happens although its answer is lost. */
  readonly unconfirmed: number;
  /** An index that forgets or repeats. */
  readonly lying: number;
}

export const CALM: Weather = {
  lost: 0,
  unanswered: 0,
  late: 0,
  repeated: 0,
  throttled: 0,
  noCapacity: 0,
  stale: 0,
  conflict: 0,
  unconfirmed: 0,
  lying: 0,
};

/** What a simulated vendor throws. */
export class SimulatedFault extends Error {
  readonly fault: ProviderFault;
  constructor(fault: ProviderFault) {
    super(fault);
    this.fault = fault;
  }
}

/** What a process sees of the world. */
export interface View {
  readonly random: Random;
  readonly timeline: Timeline;
  readonly owner: Owner;
  readonly name: string;
  weather(): Weather;
  /** Time left until the signal's limit, milliseconds. */
  leftMs(signal: AbortSignal): number;
}

/** The store as one process sees it through a network. */
export function flakyStore(store: MemoryStore, view: View, past: Past): Store {
  const { random, timeline, owner, name } = view;
  const travel = (what: string) => timeline.wait(random.integer(0, 8), `${name} ${what}`, owner);
  return {
    async get(id) {
      await travel("");
      return store.get(id);
    },
    async commit(change) {
      const weather = view.weather();
      const { before, after } = change;
      await travel(`commit ${after.id} ${before?.state ?? "-"}>${after.state} v${after.version}`);
      if (random.chance(weather.conflict)) {
        throw new ControlPlaneError("version_conflict", "simulated conflict");
      }
      await store.commit(change);
      past.remember(after);
      if (random.chance(weather.unconfirmed)) {
        timeline.note(`${name} loses the answer`);
        await travel("");
        throw new ControlPlaneError("timeout", "simulated loss of an answer");
      }
      await travel("");
    },
    async recall(tenantId, key, nowMs) {
      await travel("");
      return store.recall(tenantId, key, nowMs);
    },
    async list(query) {
      await travel("");
      const page = await store.list(query);
      const isLying = random.chance(view.weather().lying);
      return isLying ? { ...page, items: page.items.map((row) => past.of(row, random)) } : page;
    },
    async due(kind, untilMs, limit) {
      await travel("");
      const isLying = random.chance(view.weather().lying);
      if (!isLying) return store.due(kind, untilMs, limit);
      // A stale index: some due rows are missing, and rows that are due no more still show.
      return [...store.rows.keys()].filter(() => random.chance(0.5)).slice(0, limit);
    },
    async entries(query) {
      await travel("");
      return store.entries(query);
    },
    async counters() {
      await travel("");
      return store.counters();
    },
  };
}

/** Versions that rows once had, for reads that lag. */
export class Past {
  readonly #versions = new Map<SandboxId, Sandbox[]>();
  /** Commits so far. */
  count = 0;

  remember(row: Sandbox): void {
    this.count += 1;
    const versions = this.#versions.get(row.id) ?? [];
    versions.push(row);
    this.#versions.set(row.id, versions);
  }

  of(row: Sandbox, random: Random): Sandbox {
    const versions = this.#versions.get(row.id);
    return versions === undefined || random.chance(0.5) ? row : random.pick(versions);
  }
}

/** A provider as one process sees it through a network. */
export function flakyProvider(
  provider: Provider,
  view: View,
  readPast: (launchId: LaunchId, agoMs: number) => Observation,
): Provider {
  const { random, timeline, owner, name } = view;
  const { suspend } = provider;

  async function effect<Value>(
    what: string,
    signal: AbortSignal,
    run: () => Promise<Value>,
  ): Promise<Value> {
    const weather = view.weather();
    await timeline.wait(random.integer(1, 60), `${name} ${provider.name} ${what}`, owner);
    if (random.chance(weather.throttled)) throw new SimulatedFault("throttled");
    if (random.chance(weather.lost)) throw new SimulatedFault("unavailable");
    if (random.chance(weather.late)) {
      const leftMs = view.leftMs(signal);
      const lateMs = leftMs + random.integer(1, 40_000);
      timeline.at(lateMs, `late ${what}`, undefined, () => void run().catch(() => {}));
      await timeline.wait(leftMs, `${name} gives up ${what}`, owner);
      throw new SimulatedFault("timeout");
    }
    const value = await run();
    if (random.chance(weather.repeated)) await run();
    await timeline.wait(random.integer(1, 60), "", owner);
    if (random.chance(weather.unanswered)) {
      timeline.note(`${name} ${what} goes unanswered`);
      throw new SimulatedFault("timeout");
    }
    return value;
  }

  async function read<Value>(signal: AbortSignal, run: (agoMs: number) => Promise<Value>) {
    const weather = view.weather();
    await timeline.wait(random.integer(1, 40), "", owner);
    signal.throwIfAborted();
    if (random.chance(weather.lost)) throw new SimulatedFault("unavailable");
    if (random.chance(weather.throttled)) throw new SimulatedFault("throttled");
    const isStale = random.chance(weather.stale);
    return run(isStale ? random.integer(1, provider.traits.readLagMs) : 0);
  }

  return {
    ...provider,
    launch: (request, signal) =>
      effect(`launch ${request.launchId}`, signal, async () => {
        if (random.chance(view.weather().noCapacity)) throw new SimulatedFault("capacity");
        return provider.launch(request, NEVER);
      }),
    inspect: (instance, signal) =>
      read(signal, async (agoMs) =>
        agoMs > 0 ? readPast(instance.launchId, agoMs) : provider.inspect(instance, NEVER),
      ),
    list: (region, cursor, signal) =>
      read(signal, async (agoMs) => {
        const page = await provider.list(region, cursor, NEVER);
        if (agoMs === 0) return page;
        const items = page.items.map((item) => readPast(item.launchId, agoMs));
        return { ...page, items: items.filter((item) => item.phase !== "gone") };
      }),
    terminate: (instance, signal) =>
      effect(`terminate ${instance.launchId}`, signal, () => provider.terminate(instance, NEVER)),
    ...(suspend && {
      suspend: {
        pause: (instance, signal) =>
          effect(`pause ${instance.launchId}`, signal, () => suspend.pause(instance, NEVER)),
        resume: (instance, signal) =>
          effect(`resume ${instance.launchId}`, signal, () => suspend.resume(instance, NEVER)),
      },
    }),
    classify: (error) => (error instanceof SimulatedFault ? error.fault : provider.classify(error)),
  };
}

/** Calls into the vendor itself are never abandoned: what it was told, it does. */
const NEVER = new AbortController().signal;
