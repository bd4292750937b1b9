import type { Cursor, LaunchId, ProviderName } from "../ids.ts";
import type { Resources, Sandbox, SandboxSpec } from "../sandbox.ts";
import type { DurationMs, EpochMs } from "../units.ts";
import type { Page } from "./store.ts";
import type { Template } from "./templates.ts";

/**
 * What went wrong at a provider, in our words.
 *
 * `not_found` the thing is gone · `already_exists` another one has its name · `invalid` the vendor
 * rejects the request as such · `denied` credentials · `quota` an account limit · `capacity` no
 * room now · `throttled` too many calls · `timeout` no answer in time, the effect is open ·
 * `unavailable` can't be reached · `unknown` nothing that the adapter knows.
 */
export const PROVIDER_FAULTS = [
  "not_found",
  "already_exists",
  "invalid",
  "denied",
  "quota",
  "capacity",
  "throttled",
  "timeout",
  "unavailable",
  "unknown",
] as const;
export type ProviderFault = (typeof PROVIDER_FAULTS)[number];

/** Names an instance. The launch id always suffices; the vendor's id saves a look-up. */
export interface InstanceRef {
  readonly region: string;
  readonly launchId: LaunchId;
  readonly nativeId: string | undefined;
}

/** What to launch. */
export interface LaunchRequest {
  /** Idempotency key at the vendor: two launches with one id make one instance. */
  readonly launchId: LaunchId;
  readonly region: string;
  readonly template: Template;
  /** What {@link Fit} promised for the spec, never less than was asked. */
  readonly resources: Resources;
  readonly network: SandboxSpec["network"];
  /** Variables that the agent is started with; the adapter adds where it must listen. No secrets. */
  readonly agentEnv: Readonly<Record<string, string>>;
  /** Always `soulbox.stage`, `soulbox.sandbox`, `soulbox.launch`. No secrets. */
  readonly labels: Readonly<Record<string, string>>;
  /** The vendor-side stop is armed for this instant, where one exists. */
  readonly terminateByMs: EpochMs;
}

/** What a provider reports about one instance. */
export interface Observation {
  readonly launchId: LaunchId;
  readonly nativeId: string | undefined;
  /** `gone` covers stopped, removed and never existed. */
  readonly phase: "starting" | "running" | "paused" | "terminating" | "gone";
  /** `http://<ip>:<port>` or `unix:<path>`, once known. */
  readonly agentAddress: string | undefined;
  readonly startedAtMs: EpochMs | undefined;
  readonly endedAtMs: EpochMs | undefined;
  /** A limit that the instance broke and that only outside measurement finds. */
  readonly breach: "disk" | undefined;
  /** The vendor's own words, for logs only. */
  readonly detail: string;
}

/** What a provider would give for a spec, or why it can't, in one sentence for the caller. */
export type Fit = { readonly resources: Resources } | { readonly refused: string };

/** Plain facts for placement and display. */
export interface Traits {
  /** Regions in which it places sandboxes, the preferred one first. */
  readonly regions: readonly string[];
  /** Rounds up to what the vendor sells; refuses what it can't give or can't enforce. Pure. */
  fit(spec: Pick<SandboxSpec, "resources" | "network">): Fit;
  /** Longest life that the vendor allows; `undefined` when it sets none. */
  readonly lifetimeMsMax: DurationMs | undefined;
  /** A launch that isn't answered by its agent within this time has failed. */
  readonly launchMsMax: DurationMs;
  /** Reads may be this far behind: until then an absent instance is not taken for gone. */
  readonly readLagMs: DurationMs;
  /** What separates a sandbox from its host and its neighbours. */
  readonly isolation: "vm" | "gvisor" | "container" | "namespace" | "none";
  /** What this provider doesn't enforce here, one short clause each; shown to the operator. */
  readonly gaps: readonly string[];
}

/** How far a template is on a provider. */
export type Preparation =
  | { readonly state: "ready" }
  | { readonly state: "building"; readonly retryAfterMs: number; readonly detail: string }
  /** The provider can't be reached now, so nobody knows. */
  | { readonly state: "unavailable"; readonly retryAfterMs: number; readonly detail: string }
  | { readonly state: "failed"; readonly detail: string };

/** Freezing in place: processes, memory and the launch id survive. */
export interface Suspend {
  /** Succeeds if already paused. */
  pause(instance: InstanceRef, signal: AbortSignal): Promise<void>;
  /** Succeeds if already running. */
  resume(instance: InstanceRef, signal: AbortSignal): Promise<Observation>;
}

/** Templates that must be made before they can be launched. */
export interface Preparing {
  /** Answers at once; starts the work when nobody has. A launch is only asked for when ready. */
  prepare(template: Template): Preparation;
}

/**
 * A place that runs sandboxes. Adapters translate and nothing else: they throw what the vendor
 * threw, keep no state that a restart may not lose, never retry, and obey the signal.
 */
export interface Provider {
  readonly name: ProviderName;
  readonly traits: Traits;
  /** Idempotent by launch id. Returns on acceptance; the agent may not answer yet. */
  launch(request: LaunchRequest, signal: AbortSignal): Promise<Observation>;
  /** Phase `gone`, never a throw, when there is no such instance. */
  inspect(instance: InstanceRef, signal: AbortSignal): Promise<Observation>;
  /**
   * Every instance of this stage in the region, whatever its phase; `undefined` starts. One that
   * has ended is listed as `gone` for as long as something of it is left to `terminate`.
   */
  list(region: string, cursor: Cursor | undefined, signal: AbortSignal): Promise<Page<Observation>>;
  /** Removes the instance and all that belongs to it. Succeeds if it is already gone. */
  terminate(instance: InstanceRef, signal: AbortSignal): Promise<void>;
  /** Present = it can pause and resume. */
  readonly suspend?: Suspend;
  /** Present = templates need preparation. Absent = every template runs at once. */
  readonly preparing?: Preparing;
  /** Our word for what this adapter threw. Never throws. */
  classify(error: unknown): ProviderFault;
}

/** The instance behind a sandbox's current launch. */
export function instanceOf(
  sandbox: Pick<Sandbox, "place" | "nativeId">,
  launchId: LaunchId,
): InstanceRef {
  return { region: sandbox.place.region, launchId, nativeId: sandbox.nativeId };
}
