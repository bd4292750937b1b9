import type {
  Clock,
  ControlPlane,
  Keys,
  Sandbox,
  SandboxId,
  Templates,
  Traits,
} from "@soulbox/core";

/** A provider as `/v1/providers` shows it. */
export interface ProviderInfo {
  /** Its name in configuration. */
  readonly name: string;
  readonly traits: Traits;
  /** True when it can pause and resume. */
  readonly canPause: boolean;
  /** False while its circuit breaker holds calls back; `undefined` when nobody measures it. */
  readonly isHealthy: boolean | undefined;
}

/**
 * Everything that the HTTP layer needs from outside. It holds no state, clock, randomness or
 * settings of its own, so the same value serves a Node server, a Lambda function and a test.
 */
export interface ApiPorts {
  readonly controlPlane: ControlPlane;
  readonly keys: Keys;
  readonly templates: Templates;
  /** Providers in failover order. */
  providers(): readonly ProviderInfo[];
  readonly clock: Clock;
  /** Token of a sandbox's agent; the same answer for the same id, forever. */
  accessToken(id: SandboxId): string;
  /** Token that the gateway asks for where `publicTraffic` is false. */
  trafficToken(id: SandboxId): string;
  /** SHA-256 of the UTF-8 text, lower-case hex. */
  sha256(text: string): Promise<string> | string;
  /** A fresh API key: `e2b_` and 40 lower-case hex digits, which every E2B client accepts. */
  randomKey(): string;
  /** A fresh request id, at most 64 of `[A-Za-z0-9_-]`. */
  newRequestId(): string;
  /** Parent of sandboxes' host names, `<port>-<id>.<domain>`; `null` = header routing only. */
  readonly sandboxDomain: string | null;
  /**
   * Sends a request to the agent of a routable sandbox. Adds the access token and the launch id;
   * streams both ways; rejects when the agent can't be reached or `init.signal` is aborted.
   *
   * @param path Absolute path with query, `/files?path=%2Ftmp%2Fa` for example.
   */
  agentFetch(sandbox: Sandbox, path: string, init: RequestInit): Promise<Response>;
  /** Keeps the platform awake for work that outlives its answer. The promise never rejects. */
  background(work: Promise<unknown>): void;
  /** Metrics in Prometheus' text format. */
  metricsText(): Promise<string>;
  /** One line of the log; fields hold no secrets. */
  log(event: string, fields: Readonly<Record<string, unknown>>): void;
}
