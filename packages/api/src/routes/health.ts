import { Hono } from "hono";
import type { ApiEnv } from "../env.ts";
import type { ApiPorts } from "../ports.ts";

/** Prometheus' text format. Source: its documentation, exposition formats, version 0.0.4. */
const METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8";

/** What machines ask without a key: whether it lives, and how it does. */
export function healthRoutes(ports: ApiPorts): Hono<ApiEnv> {
  const app = new Hono<ApiEnv>();
  app.get("/health", (c) => c.json({ status: "ok" }));
  app.get("/metrics", async (c) =>
    c.body(await ports.metricsText(), 200, { "content-type": METRICS_TYPE }),
  );
  app.get("/", (c) => c.json({ name: "SoulBox", api: "/v1", document: "/openapi.json" }));
  return app;
}
