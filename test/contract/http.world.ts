import { createHash } from "node:crypto";
import { memoryKeys, memoryProvider, memoryStore, systemClock } from "@soulbox/adapter-memory";
import { type ApiPorts, createApp } from "@soulbox/api";
import {
  type Agents,
  type ApiKey,
  ControlPlaneError,
  createControlPlane,
  createMeter,
  type Ports,
  quote,
  type Sandbox,
  type SandboxId,
  SCOPES,
  type Scope,
  type Template,
  type Templates,
  type TenantId,
} from "@soulbox/core";

/** Something that answers HTTP requests: an app's fetch, a Lambda handler behind an event. */
export type Fetch = (request: Request) => Promise<Response>;

/** The API over the real core, with stores, provider and agents in memory. */
export interface HttpWorld {
  readonly ports: ApiPorts;
  readonly provider: ReturnType<typeof memoryProvider>;
  /** A new key of a tenant, which comes into being with its first. */
  key(tenant: string, scopes?: readonly Scope[], expiresAtMs?: number): Promise<string>;
  /** Sets how many live sandboxes a tenant may have. */
  limit(tenant: string, sandboxCountMax: number): void;
  /** What was logged. */
  readonly logged: { readonly event: string; readonly fields: unknown }[];
  /** Ends when all background work has. */
  idle(): Promise<void>;
  /** How the agents answer to `init`; replaced by tests, as the next. */
  init: Agents["init"];
  /** How the agents answer to everything else. */
  agent: (sandbox: Sandbox, path: string, init: RequestInit) => Promise<Response>;
}

const RESOURCES = { cpuMilli: 1500, memoryMib: 512, diskMib: 1024 };
const TEMPLATES: readonly Template[] = [
  { id: "base", names: ["base"], folder: "base", args: {}, resources: RESOURCES },
  { id: "node-22", names: ["node:22", "node"], folder: "node", args: {}, resources: RESOURCES },
];

/** Sandboxes that a tenant of these tests may have. */
export const SANDBOX_COUNT_MAX = 20;

/** Builds a world of its own for one test. */
export function createHttpWorld(): HttpWorld {
  const clock = systemClock();
  const provider = memoryProvider({ name: "memory", clock, stage: "test" });
  const keys = memoryKeys();
  const logged: { event: string; fields: unknown }[] = [];
  const limits = new Map<string, number>();
  const working = new Set<Promise<unknown>>();
  let count = 0;
  const log = (event: string, fields: unknown) => void logged.push({ event, fields });
  const ports: Ports = {
    store: memoryStore(),
    clock,
    meter: createMeter({ id: "test", rates: [rate("running"), rate("paused")] }),
    providers: [provider],
    agents: { launchEnv: () => ({}), init: (...asked) => world.init(...asked) },
    templates: templates(),
    stage: "test",
    newId: () => `i${String(++count).padStart(20, "0")}` as SandboxId,
    log,
  };
  const world: HttpWorld = {
    provider,
    logged,
    init: async () => "ready",
    agent: async () => new Response(null, { status: 204 }),
    ports: {
      controlPlane: createControlPlane(ports),
      keys: {
        ...keys,
        async find(hash) {
          const found = await keys.find(hash);
          const sandboxCountMax = found && limits.get(found.tenant.id);
          return found && sandboxCountMax !== undefined
            ? { ...found, tenant: { ...found.tenant, sandboxCountMax } }
            : found;
        },
      },
      templates: ports.templates,
      providers: () => [
        { name: provider.name, traits: provider.traits, canPause: true, isHealthy: true },
      ],
      clock,
      accessToken: (id) => `access-${id}`,
      trafficToken: (id) => `traffic-${id}`,
      sha256,
      randomKey: () => `e2b_${sha256(`key ${++count}`).slice(0, 40)}`,
      newRequestId: () => `req_${++count}`,
      sandboxDomain: null,
      agentFetch: (sandbox, path, init) => world.agent(sandbox, path, init),
      background: (work) => {
        working.add(work);
        work.finally(() => working.delete(work));
      },
      metricsText: async () => "soulbox_up 1\n",
      log,
    },
    async key(tenant, scopes = SCOPES.filter((scope) => scope !== "operator"), expiresAtMs) {
      const tenantId = tenant as TenantId;
      const createdAtMs = clock.now();
      if ((await keys.getTenant(tenantId)) === undefined) {
        await keys.addTenant({
          id: tenantId,
          name: tenant,
          sandboxCountMax: SANDBOX_COUNT_MAX,
          createdAtMs,
        });
      }
      const secret = world.ports.randomKey();
      const hash = sha256(secret);
      await keys.addKey({
        id: hash.slice(0, 12),
        hash,
        tenantId,
        name: "test",
        scopes,
        createdAtMs,
        expiresAtMs: expiresAtMs as ApiKey["expiresAtMs"],
      });
      return secret;
    },
    limit(tenant, sandboxCountMax) {
      limits.set(tenant, sandboxCountMax);
    },
    async idle() {
      while (working.size > 0) await Promise.all(working);
    },
  };
  return world;
}

/** The app of a world, as the runner for a Fetch server sees it. */
export function fetchOf(world: HttpWorld): Fetch {
  const app = createApp(world.ports);
  return async (request) => app.fetch(request);
}

function templates(): Templates {
  return {
    list: () => TEMPLATES,
    resolve(name) {
      const found = TEMPLATES.find((it) => it.id === name || it.names.includes(name));
      if (found !== undefined) return found;
      throw new ControlPlaneError("not_found", `There is no template ${quote(name)}.`, {
        hint: "Known are base and node:22.",
      });
    },
  };
}

function rate(state: "running" | "paused") {
  return {
    state,
    cpuNanoUsdPerHour: 50_000_000n,
    memoryNanoUsdPerHour: 10_000_000n,
    diskNanoUsdPerHour: 1_000_000n,
  };
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
