import {
  ControlPlaneError,
  type CreateInput,
  durationMs,
  type NetworkSpec,
  type Resources,
  type Sandbox,
} from "@soulbox/core";
import { ENVD_VERSION, type SandboxState } from "@soulbox/protocol";
import type { ApiPorts } from "../ports.ts";
import type { NewSandbox } from "./requests.ts";

/** The two generations of E2B's create and connect routes, and what each takes by default. */
export const GENERATIONS = {
  v1: { timeoutSeconds: 15, secure: false },
  v2: { timeoutSeconds: 300, secure: true },
} as const;
export type Generation = keyof typeof GENERATIONS;

/** Our states by the two that E2B knows; a sandbox in any other reads as not found. */
export const E2B_STATES = {
  running: ["pending", "running", "resuming"],
  paused: ["pausing", "paused"],
} as const satisfies Record<string, readonly SandboxState[]>;
export type E2bState = keyof typeof E2B_STATES;

const ALL_TRAFFIC = new Set(["0.0.0.0/0", "::/0"]);
const CLIENT_ID = "soulbox";

/** E2B's word for a state; `undefined` for one that E2B's clients take for not found. */
export function e2bState(state: SandboxState): E2bState | undefined {
  if (state === "pausing" || state === "paused") return "paused";
  if (state === "pending" || state === "running" || state === "resuming") return "running";
  return undefined;
}

/**
 * E2B's create body as ours.
 *
 * @throws invalid_request for options that exclude each other; unsupported for what nothing here
 *   can enforce.
 */
export function createInputOf(body: NewSandbox, generation: Generation): CreateInput {
  const defaults = GENERATIONS[generation];
  const secure = generation === "v2" || (body.secure ?? defaults.secure);
  checkPause(body);
  refuseLater(body);
  const network = networkOf(body);
  if (network.publicTraffic === false && !secure) {
    throw invalid("network.allowPublicTraffic is false, which needs secure to be true.");
  }
  return {
    template: body.templateID,
    env: body.envVars ?? {},
    metadata: body.metadata ?? {},
    lifetimeMs: durationMs((body.timeout ?? defaults.timeoutSeconds) * 1000),
    onExpiry: body.autoPause ? "pause" : "terminate",
    autoResume: body.autoResume?.enabled ?? false,
    secure,
    network,
  };
}

function checkPause(body: NewSandbox): void {
  if (body.autoPauseMemory !== false) return;
  if (!body.autoPause) throw invalid("autoPauseMemory is false, but autoPause is not true.");
  if (body.autoResume?.enabled) {
    throw invalid("autoPauseMemory is false, which excludes autoResume.");
  }
  throw unsupported("autoPauseMemory", "a pause always keeps memory here");
}

function refuseLater(body: NewSandbox): void {
  if (body.volumeMounts?.length) throw unsupported("volumeMounts", "there are no volumes yet");
  if (body.iam && Object.keys(body.iam).length > 0) {
    throw unsupported("iam", "there are no workload tokens yet");
  }
}

function networkOf(body: NewSandbox): Partial<NetworkSpec> {
  const network = body.network ?? {};
  const deny = network.denyOut ?? [];
  const isClosed = body.allow_internet_access === false || deny.some((to) => ALL_TRAFFIC.has(to));
  const allow = network.allowOut ?? [];
  if (allow.some(isDomain) && !deny.some((to) => ALL_TRAFFIC.has(to))) {
    throw invalid('network.allowOut names a domain, which needs denyOut to hold "0.0.0.0/0".');
  }
  if (allow.length > 0) throw unsupported("network.allowOut", "egress is all or nothing");
  if (deny.some((to) => !ALL_TRAFFIC.has(to))) {
    throw unsupported("network.denyOut", 'egress is all or nothing: only "0.0.0.0/0" is possible');
  }
  if (network.rules && Object.keys(network.rules).length > 0) {
    throw unsupported("network.rules", "requests are not rewritten");
  }
  if (network.egressProxy) throw unsupported("network.egressProxy", "there is no proxy for egress");
  if (network.httpsPorts?.length) {
    throw unsupported("network.httpsPorts", "ports inside are reached by plain HTTP");
  }
  return {
    internet: isClosed ? false : undefined,
    publicTraffic: network.allowPublicTraffic ?? true,
    maskRequestHost: network.maskRequestHost ?? undefined,
  };
}

function isDomain(target: string): boolean {
  return /[a-z]/i.test(target) && !target.includes(":");
}

/** The answer of create and connect, tokens included. */
export function sandboxView(ports: ApiPorts, sandbox: Sandbox) {
  const { secure, network } = sandbox.spec;
  return {
    ...ids(sandbox),
    ...(secure ? { envdAccessToken: ports.accessToken(sandbox.id) } : {}),
    trafficAccessToken: network.publicTraffic ? null : ports.trafficToken(sandbox.id),
    domain: ports.sandboxDomain,
  };
}

/** One item of a list: no tokens. */
export function listedView(sandbox: Sandbox) {
  return {
    ...ids(sandbox),
    startedAt: new Date(sandbox.createdAtMs).toISOString(),
    endAt: new Date(sandbox.expiresAtMs).toISOString(),
    state: e2bState(sandbox.state) ?? "running",
    ...sizeView(sandbox.resources),
    metadata: sandbox.spec.metadata,
  };
}

/**
 * The answer of `GET /sandboxes/{id}`.
 *
 * @param isUser True when the caller may use the sandbox, not only look at it.
 */
export function detailView(ports: ApiPorts, sandbox: Sandbox, isUser: boolean) {
  const { network, onExpiry, autoResume } = sandbox.spec;
  const isClosed = network.internet === false;
  return {
    ...listedView(sandbox),
    ...(isUser ? sandboxView(ports, sandbox) : { domain: ports.sandboxDomain }),
    allowInternetAccess: !isClosed,
    network: {
      allowPublicTraffic: network.publicTraffic,
      ...(isClosed ? { denyOut: ["0.0.0.0/0"] } : {}),
      ...(network.maskRequestHost === undefined
        ? {}
        : { maskRequestHost: network.maskRequestHost }),
    },
    lifecycle: { onTimeout: onExpiry === "pause" ? "pause" : "kill", autoResume },
  };
}

/** Size in E2B's units: whole CPUs, rounded up, and mebibytes, which E2B calls MB. */
export function sizeView(resources: Resources) {
  return {
    cpuCount: Math.ceil(resources.cpuMilli / 1000),
    memoryMB: resources.memoryMib,
    diskSizeMB: resources.diskMib,
  };
}

function ids(sandbox: Sandbox) {
  return {
    sandboxID: sandbox.id,
    templateID: sandbox.spec.templateId,
    alias: sandbox.spec.templateName,
    clientID: CLIENT_ID,
    envdVersion: ENVD_VERSION,
  };
}

function invalid(detail: string): ControlPlaneError {
  return new ControlPlaneError("invalid_request", detail);
}

function unsupported(option: string, why: string): ControlPlaneError {
  return new ControlPlaneError("unsupported", `${option} is not possible: ${why}.`);
}
