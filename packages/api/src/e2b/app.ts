import { Hono } from "hono";
import { allow, identify } from "../auth.ts";
import type { ApiEnv } from "../env.ts";
import type { ApiPorts } from "../ports.ts";
import { errorOf } from "../problem.ts";
import { answerE2bError } from "./errors.ts";
import { LATER } from "./later.ts";
import {
  connectSandbox,
  pauseSandbox,
  refreshSandbox,
  resumeSandbox,
  setTimeoutOf,
} from "./lifecycle.ts";
import { getLogs, getLogsV2 } from "./logs.ts";
import { getManyMetrics, getMetrics } from "./metrics.ts";
import { createSandbox, getSandbox, killSandbox, listRunning, listSandboxes } from "./sandboxes.ts";
import { findAlias, listTemplates } from "./templates.ts";

/** E2B's control plane routes, so that its published clients work unchanged. */
export function createE2bApp(ports: ApiPorts): Hono<ApiEnv> {
  const app = new Hono<ApiEnv>();
  const read = allow(ports, "sandboxes:read");
  const use = allow(ports, "sandboxes");

  app.post("/sandboxes", use, createSandbox(ports, "v1"));
  app.post("/v2/sandboxes", use, createSandbox(ports, "v2"));
  app.get("/sandboxes", read, listRunning(ports));
  app.get("/v2/sandboxes", read, listSandboxes(ports));
  app.get("/sandboxes/metrics", read, getManyMetrics(ports));
  app.get("/sandboxes/:id", read, getSandbox(ports));
  app.delete("/sandboxes/:id", use, killSandbox(ports));

  app.post("/sandboxes/:id/connect", use, connectSandbox(ports, "v1"));
  app.post("/v2/sandboxes/:id/connect", use, connectSandbox(ports, "v2"));
  app.post("/sandboxes/:id/timeout", use, setTimeoutOf(ports));
  app.post("/sandboxes/:id/refreshes", use, refreshSandbox(ports));
  app.post("/sandboxes/:id/pause", use, pauseSandbox(ports));
  app.post("/sandboxes/:id/resume", use, resumeSandbox(ports));

  app.get("/sandboxes/:id/metrics", read, getMetrics(ports));
  app.get("/sandboxes/:id/logs", read, getLogs(ports));
  app.get("/v2/sandboxes/:id/logs", read, getLogsV2(ports));

  app.get("/templates", read, listTemplates(ports));
  app.get("/templates/aliases/:name", read, findAlias(ports));

  for (const [method, path, subject] of LATER) {
    app.on(method, path, identify(ports), (c) =>
      c.json({ code: 501, message: `SoulBox has no ${subject} yet.` }, 501),
    );
  }

  app.onError((thrown, c) => answerE2bError(c, errorOf(ports, c, thrown)));
  return app;
}
