import type { Owner } from "./signature.ts";

/** Where a running sandbox's agent answers, and what its ports ask for. */
export interface Route {
  /** Current launch; told to the agent, which refuses requests meant for another. */
  readonly launchId: string;
  /** `http://<ip>:<port>` or `unix:<path>`. */
  readonly address: string;
  /** False makes every port but the agent's ask for the traffic token. */
  readonly publicTraffic: boolean;
  /** Host header that user ports see; `${PORT}` in it stands for the port. */
  readonly maskRequestHost: string | undefined;
}

/** What there is to a sandbox id now. */
export type Resolution =
  | { readonly kind: "route"; readonly route: Route }
  | {
      readonly kind: "paused";
      /** True when a request may wake it. */
      readonly autoResume: boolean;
      /**
       * False makes a user port ask for the traffic token before it wakes the sandbox. Default
       * true: the token is then asked for after the wake.
       */
      readonly publicTraffic?: boolean;
    }
  /** Changing state; answered 409. */
  | { readonly kind: "busy" }
  /** Unknown, ended, lost. */
  | { readonly kind: "gone" };

/** What the gateway needs from the world. */
export interface GatewayPorts {
  /**
   * What the store says of a sandbox. Asked on every request, never remembered: whoever answers
   * decides how stale it may be. A throw is answered 503.
   */
  resolve(sandboxId: string): Promise<Resolution> | Resolution;
  /**
   * Resumes a paused sandbox with auto resume and waits until it answers. Concurrent requests share
   * one call. A throw is answered 503.
   *
   * @param signal Aborted when the gateway no longer waits; the resume itself may go on.
   */
  wake(sandboxId: string, signal: AbortSignal): Promise<Resolution>;
  /** Live sandboxes with their agent tokens, newest first, for signed file URLs without an id. */
  owners(): AsyncIterable<Owner> | Iterable<Owner>;
  /** The token that opens a sandbox's private ports. */
  trafficToken(sandboxId: string): string;
  /** Writes one line to the log: `noun.verb` and fields, never a secret. */
  log(event: string, fields: Readonly<Record<string, unknown>>): void;
  /** Bounds; absent ones take their default. */
  readonly limits?: Partial<GatewayLimits>;
}

/** Bounds of the gateway. */
export interface GatewayLimits {
  /**
   * Requests and upgraded connections under way per sandbox; more are answered 429. Default 2,000:
   * what E2B's client allows itself (npm e2b 2.51.0, `E2B_ENVD_INFLIGHT_REQUESTS`).
   */
  readonly requestCountMax: number;
  /** Sandboxes with open connections; past them idle ones are closed, then 503. Default 4,000. */
  readonly upstreamCountMax: number;
  /** Connections to a sandbox are closed this long after its last request. Default 60,000. */
  readonly idleMs: number;
  /** One connect to an agent. Default 5,000: it is a neighbour, or on the same host. */
  readonly connectMsMax: number;
  /** One `resolve`. Default 10,000. */
  readonly resolveMsMax: number;
  /** How long a request waits for a wake. Default 30,000. */
  readonly wakeMsMax: number;
  /** How long an agent may think about an upgrade. Default 60,000. */
  readonly upgradeMsMax: number;
  /** Live sandboxes tried for one signed URL. Default 10,000. */
  readonly ownerCountMax: number;
}

/** The defaults of {@link GatewayLimits}. */
export const GATEWAY_LIMITS: GatewayLimits = {
  requestCountMax: 2_000,
  upstreamCountMax: 4_000,
  idleMs: 60_000,
  connectMsMax: 5_000,
  resolveMsMax: 10_000,
  wakeMsMax: 30_000,
  upgradeMsMax: 60_000,
  ownerCountMax: 10_000,
};
