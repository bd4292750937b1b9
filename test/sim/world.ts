import {
  type MemoryStore,
  memoryProvider,
  memoryStore,
  memoryVendor,
} from "@soulbox/adapter-memory";
import {
  type Clock,
  createControlPlane,
  createMeter,
  type DurationMs,
  durationMs,
  type EpochMs,
  epochMs,
  isLive,
  type LaunchId,
  launchIdOf,
  type Observation,
  type Ports,
  type Provider,
  parseLaunchId,
  reap,
  reconcile,
  type SandboxId,
  sweep,
  type Template,
} from "@soulbox/core";
import { CALM, flakyProvider, flakyStore, Past, type View, type Weather } from "./faults.ts";
import type { Random } from "./random.ts";
import type { Owner, Timeline } from "./timeline.ts";

/** How often the batches of every control plane run, simulated milliseconds. */
export const PERIODS = { reapMs: 2000, reconcileMs: 2000, sweepMs: 15_000 } as const;
/** Reads may show the vendors' past by this much. */
export const READ_LAG_MS = 2000;
/** No clock is off by more: two of them by less than the core allows for. */
export const SKEW_MS_MAX = 2400;
const LAUNCH_MS_MAX = 20_000;
const BOOT_MS_MAX = 400;

const NEVER = new AbortController().signal;

const TEMPLATE: Template = {
  id: "base",
  names: ["base"],
  folder: "base",
  args: {},
  resources: { cpuMilli: 1000, memoryMib: 512, diskMib: 1024 },
};

const METER = createMeter({
  id: "sim",
  rates: [
    {
      state: "running",
      cpuNanoUsdPerHour: 50_400_001n,
      memoryNanoUsdPerHour: 16_200_007n,
      diskNanoUsdPerHour: 0n,
    },
    {
      state: "paused",
      cpuNanoUsdPerHour: 0n,
      memoryNanoUsdPerHour: 1_000_003n,
      diskNanoUsdPerHour: 13n,
    },
  ],
});

/** One control plane: a process with a clock of its own that can die at any step. */
export interface Plane extends Owner {
  readonly name: string;
  readonly ports: Ports;
  readonly controlPlane: ReturnType<typeof createControlPlane>;
  /** How far its clock is off, milliseconds. */
  skewMs: number;
}

/** All there is: the store, two vendors, and the control planes between them. */
export interface World {
  readonly timeline: Timeline;
  readonly random: Random;
  readonly store: MemoryStore;
  readonly providers: readonly Provider[];
  readonly planes: Plane[];
  /** Every instance that exists at the vendors. */
  instances(): readonly Observation[];
  /** When instances of a launch ended at their vendor, simulated milliseconds, oldest first. */
  deathsOf(launchId: LaunchId): readonly number[];
  /** Lets the instance of a launch die at its vendor. */
  kill(launchId: LaunchId): void;
  weather: Weather;
  /** True from the calm at the end on: no more requests and mishaps. */
  isOver: boolean;
  /** Grows with every change in the store or at a vendor. */
  revision(): number;
  /** Starts a control plane with its batches. */
  start(): Plane;
  crash(plane: Plane): void;
  /** Texts that were logged, for the search for secrets. */
  readonly logged: string[];
}

export function createWorld(random: Random, timeline: Timeline): World {
  const clock = { now: () => epochMs(timeline.nowMs) };
  const store = memoryStore();
  const vendors = { alpha: memoryVendor(), beta: memoryVendor() };
  const providers = (["alpha", "beta"] as const).map((name) =>
    memoryProvider({
      name,
      clock,
      stage: "sim",
      vendor: vendors[name],
      pageSize: 3,
      traits: { readLagMs: durationMs(READ_LAG_MS), launchMsMax: durationMs(LAUNCH_MS_MAX) },
    }),
  );
  const past = new Past();
  const vendorPast = watchVendors(vendors, timeline);
  const planes: Plane[] = [];
  let planeCount = 0;
  let idCount = 0;
  const logged: string[] = [];

  const world: World = {
    timeline,
    random,
    store,
    providers,
    planes,
    logged,
    weather: CALM,
    isOver: false,
    revision: () => past.count + vendorPast.count(),
    instances: () =>
      Object.values(vendors).flatMap((vendor) => [...vendor.instances.values()].map(observed)),
    deathsOf: vendorPast.deathsOf,
    kill(launchId) {
      for (const vendor of Object.values(vendors)) vendor.instances.delete(launchId);
    },
    start() {
      planeCount += 1;
      const plane = createPlane(`p${planeCount}`);
      planes.push(plane);
      timeline.note(`${plane.name} starts`);
      runBatches(world, plane);
      return plane;
    },
    crash(plane) {
      plane.alive = false;
      planes.splice(planes.indexOf(plane), 1);
      timeline.note(`${plane.name} dies`);
    },
  };

  function createPlane(name: string): Plane {
    const deadlines = new WeakMap<AbortSignal, number>();
    const owner = { alive: true, name, skewMs: random.integer(-1000, 1000) };
    const view: View = {
      random,
      timeline,
      owner,
      name,
      weather: () => world.weather,
      leftMs: (signal) => Math.max(0, (deadlines.get(signal) ?? 0) - timeline.nowMs),
    };
    const planeClock: Clock = {
      now: () => epochMs(timeline.nowMs + owner.skewMs),
      sleep: (ms) => timeline.wait(ms, "", owner),
      timeout: (ms: DurationMs) => {
        // Only a call that hangs looks at its limit, so the limit is no happening of its own.
        const { signal } = new AbortController();
        deadlines.set(signal, timeline.nowMs + ms);
        return signal;
      },
    };
    const ports: Ports = {
      store: flakyStore(store, view, past),
      clock: planeClock,
      meter: METER,
      providers: providers.map((provider) =>
        flakyProvider(provider, view, (launchId, agoMs) =>
          vendorPast.at(launchId, timeline.nowMs - agoMs),
        ),
      ),
      agents: {
        launchEnv: () => ({}),
        async init(sandbox, address) {
          await timeline.wait(random.integer(1, 30), "", owner);
          const launchId = launchIdOf(sandbox.id, sandbox.incarnation);
          if (address !== `memory:${launchId}`) return "refused";
          const instance = world.instances().find((it) => it.launchId === launchId);
          if (instance?.phase !== "running") return "silent";
          const isUp = timeline.nowMs - (instance.startedAtMs ?? 0) > bootMs(launchId);
          return isUp ? "ready" : "silent";
        },
      },
      templates: { resolve: () => TEMPLATE, list: () => [TEMPLATE] },
      stage: "sim",
      newId: () => {
        idCount += 1;
        return `sb${String(idCount).padStart(18, "0")}` as SandboxId;
      },
      log: (event, fields) => {
        logged.push(event);
        for (const field of Object.values(fields)) {
          if (typeof field === "string") logged.push(field);
        }
      },
    };
    return Object.assign(owner, { ports, controlPlane: createControlPlane(ports) });
  }
  return world;
}

/** Runs the three batches of a control plane until it dies. */
function runBatches(world: World, plane: Plane): void {
  const { timeline, random } = world;
  const every = (periodMs: number, run: () => Promise<unknown>) => {
    const loop = async (): Promise<void> => {
      await timeline.wait(random.integer(1, periodMs), "", plane);
      for (;;) {
        await run().catch((error: unknown) => {
          if (!isExpected(error)) throw error;
        });
        await timeline.wait(periodMs, "", plane);
      }
    };
    loop().catch((error: unknown) => timeline.note(`${plane.name} batch failed: ${String(error)}`));
  };
  every(PERIODS.reapMs, () => reap(plane.ports, 10, NEVER));
  every(PERIODS.reconcileMs, () => reconcile(plane.ports, 10, NEVER));
  every(PERIODS.sweepMs, async () => {
    for (const provider of plane.ports.providers) {
      for (const region of provider.traits.regions) {
        await sweep(plane.ports, provider, region, NEVER);
      }
    }
  });
}

/** True for errors that a weather of faults explains. */
export function isExpected(error: unknown): boolean {
  return error instanceof Error && error.name === "ControlPlaneError";
}

type Vendors = Readonly<Record<"alpha" | "beta", ReturnType<typeof memoryVendor>>>;

/** Remembers every change at the vendors, so that a stale read can show an older truth. */
function watchVendors(vendors: Vendors, timeline: Timeline) {
  const changes: { atMs: number; launchId: LaunchId; seen: Observation | undefined }[] = [];
  for (const { instances } of Object.values(vendors)) {
    const { set: put, delete: remove } = instances;
    instances.set = (launchId, instance) => {
      changes.push({ atMs: timeline.nowMs, launchId, seen: observed(instance) });
      return put.call(instances, launchId, instance);
    };
    instances.delete = (launchId) => {
      changes.push({ atMs: timeline.nowMs, launchId, seen: undefined });
      return remove.call(instances, launchId);
    };
  }
  return {
    count: () => changes.length,
    deathsOf: (launchId: LaunchId) =>
      changes
        .filter((it) => it.launchId === launchId && it.seen === undefined)
        .map((it) => it.atMs),
    at(launchId: LaunchId, atMs: number): Observation {
      const last = changes.findLast((it) => it.launchId === launchId && it.atMs <= atMs);
      return last?.seen ?? absent(launchId);
    },
  };
}

function absent(launchId: LaunchId): Observation {
  return {
    launchId,
    nativeId: undefined,
    phase: "gone",
    agentAddress: undefined,
    startedAtMs: undefined,
    endedAtMs: undefined,
    breach: undefined,
    detail: "absent",
  };
}

function observed(instance: {
  readonly launchId: LaunchId;
  readonly nativeId: string;
  readonly phase: "running" | "paused";
  readonly startedAtMs: EpochMs;
}): Observation {
  const { launchId, nativeId, phase, startedAtMs } = instance;
  return { ...absent(launchId), nativeId, phase, startedAtMs, agentAddress: `memory:${launchId}` };
}

/** Each launch boots in its own time; some never do. */
function bootMs(launchId: LaunchId): number {
  const { sandboxId = "", incarnation = 1 } = parseLaunchId(launchId) ?? {};
  const mixed = (Number(sandboxId.slice(-6)) * 7919 + incarnation * 104_729) % 1000;
  return mixed < 20 ? Number.POSITIVE_INFINITY : (mixed * BOOT_MS_MAX) / 1000;
}

/** Ids of the rows that are live, in order of creation. */
export function liveIds(world: World): readonly SandboxId[] {
  return [...world.store.rows.values()].filter((row) => isLive(row.state)).map((row) => row.id);
}
