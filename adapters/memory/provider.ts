import {
  type Clock,
  type Cursor,
  durationMs,
  type EpochMs,
  type Fit,
  type InstanceRef,
  type LaunchId,
  type LaunchRequest,
  LIMITS,
  type Observation,
  type Provider,
  type ProviderFault,
  providerName,
  type Resources,
  type Traits,
} from "@soulbox/core";

/** One instance at the vendor in memory. A value: a change is another one under the same key. */
export interface MemoryInstance {
  readonly launchId: LaunchId;
  readonly region: string;
  readonly nativeId: string;
  readonly phase: "running" | "paused";
  readonly resources: Resources;
  readonly labels: Readonly<Record<string, string>>;
  readonly startedAtMs: EpochMs;
  readonly terminateByMs: EpochMs;
  readonly breach: "disk" | undefined;
}

/**
 * The vendor's side: what would survive the control plane. Tests read it, and change it to play
 * what happens on its own there: a removed entry is an instance that died.
 */
export interface MemoryVendor {
  /** By launch id: the vendor's names are the launch ids. In order of launch. */
  readonly instances: Map<LaunchId, MemoryInstance>;
  /** Instances made so far. */
  launched: number;
  /** While set, every call throws that fault. */
  failing: ProviderFault | undefined;
}

/** A vendor without instances. */
export function memoryVendor(): MemoryVendor {
  return { instances: new Map(), launched: 0, failing: undefined };
}

/** How the provider in memory is set up. */
export interface MemoryProviderOptions {
  readonly name: string;
  readonly clock: Pick<Clock, "now">;
  /** Value of the label `soulbox.stage` that its list looks for. Default `memory`. */
  readonly stage?: string;
  /** Shared by several providers = one account with several stages. Default: one of its own. */
  readonly vendor?: MemoryVendor;
  /** Default: one region, `here`. */
  readonly regions?: readonly string[];
  /** Instances that the vendor has room for; one more is fault `capacity`. Default: no bound. */
  readonly instancesMax?: number;
  /** Observations on a page of `list`. Default {@link LIMITS.pageDefault}. */
  readonly pageSize?: number;
  /** Facts to report in place of its own, `readLagMs` for example. */
  readonly traits?: Partial<Omit<Traits, "regions">>;
}

/** A provider whose vendor can be looked into. */
export interface MemoryProvider extends Provider {
  readonly vendor: MemoryVendor;
}

/** What the vendor in memory throws: it knows the fault itself. */
export class MemoryProviderError extends Error {
  readonly fault: ProviderFault;

  constructor(fault: ProviderFault, message: string) {
    super(message);
    this.name = "MemoryProviderError";
    this.fault = fault;
  }
}

/**
 * The provider port read to the letter, in process: for tests, the simulator and as the model of
 * an adapter. Deterministic: no timers, no randomness; every call is over when its promise is.
 *
 * Idempotency key: the launch id is the name. Gone: not in the map. An agent's address is
 * `memory:<launchId>`. `terminateByMs` is kept, but no timer acts on it.
 */
export function memoryProvider(options: MemoryProviderOptions): MemoryProvider {
  const { clock, stage = "memory", pageSize = LIMITS.pageDefault } = options;
  const { vendor = memoryVendor(), instancesMax = Number.POSITIVE_INFINITY } = options;
  const { instances } = vendor;

  const enter = (signal: AbortSignal): void => {
    signal.throwIfAborted();
    if (vendor.failing === undefined) return;
    throw new MemoryProviderError(vendor.failing, `The vendor is told to fail: ${vendor.failing}.`);
  };
  const find = ({ region, launchId }: InstanceRef): MemoryInstance | undefined => {
    const instance = instances.get(launchId);
    return instance?.region === region ? instance : undefined;
  };
  const need = (ref: InstanceRef): MemoryInstance => {
    const instance = find(ref);
    if (instance !== undefined) return instance;
    throw new MemoryProviderError("not_found", `There is no instance ${ref.launchId}.`);
  };
  const turn = (instance: MemoryInstance, phase: MemoryInstance["phase"]): Observation => {
    const turned = { ...instance, phase };
    instances.set(instance.launchId, turned);
    return observe(turned);
  };

  return {
    name: providerName(options.name),
    vendor,
    traits: { ...TRAITS, ...options.traits, regions: options.regions ?? ["here"] },
    async launch(request, signal) {
      enter(signal);
      const existing = instances.get(request.launchId);
      if (existing !== undefined) return observe(existing);
      if (instances.size >= instancesMax) {
        throw new MemoryProviderError("capacity", `There is room for ${instancesMax} instances.`);
      }
      vendor.launched += 1;
      const instance = make(request, `m-${vendor.launched}`, clock.now());
      instances.set(instance.launchId, instance);
      return observe(instance);
    },
    async inspect(ref, signal) {
      enter(signal);
      const instance = find(ref);
      return instance === undefined ? gone(ref) : observe(instance);
    },
    async list(region, cursor, signal) {
      enter(signal);
      const mine = [...instances.values()]
        .filter((it) => it.region === region && it.labels["soulbox.stage"] === stage)
        .toSorted((a, b) => sequence(a.nativeId) - sequence(b.nativeId));
      // The cursor names the last one seen, so that a removal in between hides none.
      const from = cursor === undefined ? 0 : sequence(cursor);
      const rest = mine.filter((it) => sequence(it.nativeId) > from);
      const page = rest.slice(0, pageSize);
      const next = rest.length > page.length ? (page.at(-1)?.nativeId as Cursor) : undefined;
      return { items: page.map(observe), next };
    },
    async terminate(ref, signal) {
      enter(signal);
      if (find(ref) !== undefined) instances.delete(ref.launchId);
    },
    suspend: {
      async pause(ref, signal) {
        enter(signal);
        turn(need(ref), "paused");
      },
      async resume(ref, signal) {
        enter(signal);
        return turn(need(ref), "running");
      },
    },
    classify: classifyMemory,
  };
}

const TRAITS: Omit<Traits, "regions"> = {
  fit: fitMemory,
  lifetimeMsMax: undefined,
  launchMsMax: durationMs(10_000),
  readLagMs: durationMs(0),
  isolation: "none",
  gaps: ["nothing runs: instances are records in memory"],
};

/** Gives what is asked, up to the largest sandbox there is. */
function fitMemory({ resources }: Parameters<Traits["fit"]>[0]): Fit {
  const { cpuMilli, memoryMib, diskMib } = resources;
  if (cpuMilli > LIMITS.cpuMilliMax) return { refused: "There are no more than 64 CPUs." };
  if (memoryMib > LIMITS.memoryMibMax) return { refused: "There is no more than 512 GiB memory." };
  if (diskMib > LIMITS.diskMibMax) return { refused: "There is no more than 1 TiB of disk." };
  return { resources };
}

function make(request: LaunchRequest, nativeId: string, startedAtMs: EpochMs): MemoryInstance {
  const { launchId, region, resources, labels, terminateByMs } = request;
  return {
    launchId,
    region,
    nativeId,
    phase: "running",
    resources,
    labels: { ...labels },
    startedAtMs,
    terminateByMs,
    breach: undefined,
  };
}

function observe(instance: MemoryInstance): Observation {
  const { launchId, nativeId, phase, startedAtMs, breach } = instance;
  return {
    launchId,
    nativeId,
    phase,
    agentAddress: `memory:${launchId}`,
    startedAtMs,
    endedAtMs: undefined,
    breach,
    detail: phase,
  };
}

function gone({ launchId, nativeId }: InstanceRef): Observation {
  return {
    launchId,
    nativeId,
    phase: "gone",
    agentAddress: undefined,
    startedAtMs: undefined,
    endedAtMs: undefined,
    breach: undefined,
    detail: "not in the map",
  };
}

/** Native ids count launches, `m-12`. */
function sequence(nativeId: string): number {
  return Number(nativeId.slice(2));
}

function classifyMemory(error: unknown): ProviderFault {
  if (error instanceof MemoryProviderError) return error.fault;
  const isAbort =
    error instanceof DOMException && (error.name === "AbortError" || error.name === "TimeoutError");
  return isAbort ? "timeout" : "unknown";
}
