import {
  type ControlPlane,
  durationMs,
  type EpochMs,
  epochMs,
  type Keys,
  providerName,
  type Sandbox,
  type SandboxId,
  type TenantId,
} from "@soulbox/core";
import type { ApiPorts } from "./ports.ts";

/** The instant of unit tests. */
export const NOW_MS = epochMs(Date.UTC(2026, 0, 2, 3, 4, 5));

/** A running sandbox, for unit tests. */
export function aSandbox(changes: Partial<Sandbox> = {}, spec: Partial<Sandbox["spec"]> = {}) {
  const sandbox: Sandbox = {
    id: "i00000000000000000001" as SandboxId,
    tenantId: "acme" as TenantId,
    spec: {
      templateId: "base",
      templateName: "base",
      resources: { cpuMilli: 1000, memoryMib: 512, diskMib: 1024 },
      env: { TOKEN: "s3cret" },
      metadata: {},
      lifetimeMs: durationMs(60_000),
      onExpiry: "terminate",
      autoResume: false,
      secure: true,
      network: {
        internet: undefined,
        publicTraffic: true,
        maskRequestHost: undefined,
        bandwidthKbit: undefined,
      },
      ...spec,
    },
    state: "running",
    endReason: undefined,
    incarnation: 1,
    place: { provider: providerName("memory"), region: "here" },
    resources: { cpuMilli: 1000, memoryMib: 512, diskMib: 1024 },
    nativeId: "secret-native-id",
    agentAddress: "http://10.0.0.9:49983",
    attempts: [],
    intervals: 1,
    billing: undefined,
    createdAtMs: NOW_MS,
    startedAtMs: NOW_MS,
    endedAtMs: undefined,
    expiresAtMs: epochMs(NOW_MS + 60_000),
    dueAtMs: undefined,
    deadlineMs: undefined,
    provenAtMs: NOW_MS,
    tries: 0,
    version: 2,
  };
  return { ...sandbox, ...changes };
}

/** A clock that jumps to the end of every sleep. */
export function jumpingClock(): ApiPorts["clock"] & { nowMs: EpochMs } {
  const clock = {
    nowMs: NOW_MS,
    now: () => clock.nowMs,
    async sleep(ms: number, signal: AbortSignal) {
      signal.throwIfAborted();
      clock.nowMs = epochMs(clock.nowMs + ms);
    },
    timeout: (_ms: number, parent: AbortSignal) => parent,
  };
  return clock;
}

/** Ports of which a unit test gives only what it needs; the rest refuses to be called. */
export function fakePorts(
  given: Partial<Omit<ApiPorts, "controlPlane" | "keys">> & {
    readonly controlPlane?: Partial<ControlPlane>;
    readonly keys?: Partial<Keys>;
  } = {},
): ApiPorts {
  const { controlPlane = {}, keys = {}, ...rest } = given;
  return {
    templates: { resolve: refuse, list: () => [] },
    providers: () => [],
    clock: jumpingClock(),
    accessToken: (id) => `access-${id}`,
    trafficToken: (id) => `traffic-${id}`,
    sha256: (text) => `hash of ${text}`,
    randomKey: () => `e2b_${"a".repeat(40)}`,
    newRequestId: () => "req_1",
    sandboxDomain: null,
    agentFetch: refuse,
    background: () => undefined,
    metricsText: async () => "",
    log: () => undefined,
    ...rest,
    controlPlane: { ...NO_CONTROL_PLANE, ...controlPlane },
    keys: { ...NO_KEYS, ...keys },
  };
}

const NO_CONTROL_PLANE: ControlPlane = {
  create: refuse,
  get: refuse,
  list: refuse,
  pause: refuse,
  resume: refuse,
  extend: refuse,
  terminate: refuse,
  settle: refuse,
  usage: refuse,
  cost: refuse,
  entries: refuse,
};

const NO_KEYS: Keys = {
  find: refuse,
  addKey: refuse,
  removeKey: refuse,
  listKeys: refuse,
  addTenant: refuse,
  getTenant: refuse,
  listTenants: refuse,
};

function refuse(): never {
  throw new Error("This test does not expect the call.");
}
