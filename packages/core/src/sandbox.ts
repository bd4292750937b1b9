import type { EndReason, SandboxState } from "@soulbox/protocol";
import type { LaunchId, ProviderName, SandboxId, TenantId } from "./ids.ts";
import { launchIdOf } from "./ids.ts";
import type { OpenInterval } from "./ledger.ts";
import type { ProviderFault } from "./ports/provider.ts";
import type { DurationMs, EpochMs } from "./units.ts";

/** How large a sandbox is. */
export interface Resources {
  /** Thousandths of a virtual CPU. */
  readonly cpuMilli: number;
  readonly memoryMib: number;
  readonly diskMib: number;
}

/** Where a sandbox runs: a provider and the vendor's own region id. */
export interface Place {
  readonly provider: ProviderName;
  readonly region: string;
}

/** What a sandbox may do on the network. */
export interface NetworkSpec {
  /**
   * `true` asks for the internet, `false` forbids any network, `undefined` takes what the provider
   * gives by default.
   */
  readonly internet: boolean | undefined;
  /** False makes the gateway ask for a traffic token on every port but the agent's. */
  readonly publicTraffic: boolean;
  /** Host header that user ports see; `${PORT}` in it stands for the port. */
  readonly maskRequestHost: string | undefined;
  /** Bandwidth in each direction, kilobits per second; `undefined` sets no limit. */
  readonly bandwidthKbit: number | undefined;
}

/** What was asked for; frozen at create. */
export interface SandboxSpec {
  /** Id of the template, `node-22` for example. */
  readonly templateId: string;
  /** The template as the caller spelled it. */
  readonly templateName: string;
  readonly resources: Resources;
  /** Variables of every process. Secret: never in labels, logs or lists. */
  readonly env: Readonly<Record<string, string>>;
  /** The caller's own marks, for filters. */
  readonly metadata: Readonly<Record<string, string>>;
  readonly lifetimeMs: DurationMs;
  readonly onExpiry: "terminate" | "pause";
  /** True when a request to a user port wakes the sandbox from pause. */
  readonly autoResume: boolean;
  /** False leaves the agent open to whoever knows the id (E2B's `secure: false`). */
  readonly secure: boolean;
  readonly network: NetworkSpec;
}

/** One launch that did not succeed. */
export interface Attempt {
  readonly place: Place;
  readonly incarnation: number;
  readonly fault: ProviderFault;
  readonly atMs: EpochMs;
}

/** The customer's unit, as last committed. */
export interface Sandbox {
  readonly id: SandboxId;
  readonly tenantId: TenantId;
  readonly spec: SandboxSpec;
  readonly state: SandboxState;
  /** Set from `terminating` on. */
  readonly endReason: EndReason | undefined;
  /** Number of the current launch, from 1; pins every remote effect. Pausing keeps it. */
  readonly incarnation: number;
  readonly place: Place;
  /** What the provider gives; at least what was asked. */
  readonly resources: Resources;
  /** The vendor's own id, once known; a hint beside the launch id. */
  readonly nativeId: string | undefined;
  /** Where the agent answers: `http://<ip>:<port>` or `unix:<path>`; set while routable or paused. */
  readonly agentAddress: string | undefined;
  /** Launches that failed before this one. */
  readonly attempts: readonly Attempt[];
  /** How many paid intervals were opened so far. */
  readonly intervals: number;
  /** The open paid interval: set exactly while the sandbox is paying. */
  readonly billing: OpenInterval | undefined;
  readonly createdAtMs: EpochMs;
  /** When the agent first answered. */
  readonly startedAtMs: EpochMs | undefined;
  readonly endedAtMs: EpochMs | undefined;
  /** When its life, or its time in pause, is over. */
  readonly expiresAtMs: EpochMs;
  /**
   * When somebody must look at it next: its expiry while it rests, the next try while it moves;
   * `undefined` when final.
   */
  readonly dueAtMs: EpochMs | undefined;
  /** When a move must be over; `undefined` while it rests or is final. */
  readonly deadlineMs: EpochMs | undefined;
  /** Last moment at which the instance is known to have been alive. */
  readonly provenAtMs: EpochMs;
  /** Tries of the current move so far. */
  readonly tries: number;
  /** Compare-and-set: 1 at create, +1 per commit. */
  readonly version: number;
}

/** True when nothing is under way: running or paused. */
export function isResting(state: SandboxState): state is "running" | "paused" {
  return state === "running" || state === "paused";
}

/** True while the tenant's quota counts it: from create until its end is committed. */
export function isLive(state: SandboxState): boolean {
  return state !== "terminating" && state !== "terminated" && state !== "failed";
}

/** The current launch of a sandbox. */
export function launchOf(sandbox: Sandbox): LaunchId {
  return launchIdOf(sandbox.id, sandbox.incarnation);
}

/** True when both name the same provider and region. */
export function samePlace(a: Place, b: Place): boolean {
  return a.provider === b.provider && a.region === b.region;
}
