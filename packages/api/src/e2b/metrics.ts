import { hasCode, type Sandbox } from "@soulbox/core";
import type { Handler } from "hono";
import { z } from "zod";
import { callAgent } from "../agent.ts";
import type { ApiEnv } from "../env.ts";
import { invalidError } from "../invalid.ts";
import type { ApiPorts } from "../ports.ts";
import { MetricsQuery } from "./requests.ts";
import { liveSandbox } from "./sandboxes.ts";

/** E2B samples this often, so its clients allow for it at both ends of a range; seconds. */
const SAMPLE_SECONDS = 5;
/** Sandboxes that one request may ask for. */
const IDS_MAX = 100;

/** Answer of the agent's `GET /metrics`. Sizes in bytes, `ts` in unix seconds. */
const AgentMetrics = z.object({
  ts: z.number(),
  cpu_count: z.number(),
  cpu_used_pct: z.number(),
  mem_used: z.number(),
  mem_total: z.number(),
  mem_cache: z.number().default(0),
  disk_used: z.number(),
  disk_total: z.number(),
});

/** `GET /sandboxes/{id}/metrics`: the current sample when it lies in the range; no history. */
export function getMetrics(ports: ApiPorts): Handler<ApiEnv, "/:id"> {
  return async (c) => {
    const query = MetricsQuery.safeParse(c.req.query());
    if (!query.success) throw invalidError("query", query.error, c.req.query());
    const sandbox = await liveSandbox(ports, c.get("caller"), c.req.param("id"));
    const metric = await sample(ports, sandbox, c.req.raw.signal);
    const from = (query.data.start ?? 0) - SAMPLE_SECONDS;
    const until = (query.data.end ?? Number.POSITIVE_INFINITY) + SAMPLE_SECONDS;
    const isInRange =
      metric !== undefined && from <= metric.timestampUnix && metric.timestampUnix <= until;
    return c.json(isInRange ? [metric] : []);
  };
}

/** `GET /sandboxes/metrics?sandbox_ids=a,b`: those that the caller has and that answer. */
export function getManyMetrics(ports: ApiPorts): Handler<ApiEnv> {
  return async (c) => {
    const ids = (c.req.queries("sandbox_ids") ?? []).flatMap((part) => part.split(","));
    const query = z.array(z.string().min(1)).min(1).max(IDS_MAX).safeParse(ids);
    if (!query.success) throw invalidError("query", query.error, ids);
    const samples = await Promise.all(
      query.data.map(async (id) => {
        try {
          const sandbox = await liveSandbox(ports, c.get("caller"), id);
          return [id, await sample(ports, sandbox, c.req.raw.signal)] as const;
        } catch (error) {
          if (hasCode(error, "not_found") || hasCode(error, "provider_unavailable")) return [id];
          throw error;
        }
      }),
    );
    return c.json({ sandboxes: Object.fromEntries(samples.filter(([, metric]) => metric)) });
  };
}

async function sample(ports: ApiPorts, sandbox: Sandbox, signal: AbortSignal) {
  if (sandbox.state !== "running") return undefined;
  const response = await callAgent(ports, sandbox, "/metrics", { signal });
  const agent = AgentMetrics.parse(await response.json());
  return {
    timestamp: new Date(agent.ts * 1000).toISOString(),
    timestampUnix: agent.ts,
    cpuCount: agent.cpu_count,
    cpuUsedPct: agent.cpu_used_pct,
    memUsed: agent.mem_used,
    memTotal: agent.mem_total,
    memCache: agent.mem_cache,
    diskUsed: agent.disk_used,
    diskTotal: agent.disk_total,
  };
}
