import { OpenAPIHono } from "@hono/zod-openapi";
import { createE2bApp } from "./e2b/app.ts";
import type { ApiEnv } from "./env.ts";
import { notFound } from "./not-found.ts";
import { documented } from "./openapi.ts";
import type { ApiPorts } from "./ports.ts";
import { answerProblem, errorOf } from "./problem.ts";
import { requestId } from "./request-id.ts";
import { execRoutes } from "./routes/exec.ts";
import { fileRoutes } from "./routes/files.ts";
import { healthRoutes } from "./routes/health.ts";
import { keyRoutes } from "./routes/keys.ts";
import { moveRoutes } from "./routes/moves.ts";
import { providerRoutes } from "./routes/providers.ts";
import { sandboxRoutes } from "./routes/sandboxes.ts";
import { templateRoutes } from "./routes/templates.ts";
import { tenantRoutes } from "./routes/tenants.ts";
import { usageRoutes } from "./routes/usage.ts";

/**
 * The whole HTTP API as a value: `app.fetch` serves it on any platform.
 *
 * `/v1` is our own API, with problems for errors; E2B's routes are at the root, with E2B's error
 * bodies. Who needs another page at the root mounts it in front.
 */
export function createApp(ports: ApiPorts): OpenAPIHono<ApiEnv> {
  const app = new OpenAPIHono<ApiEnv>();
  app.use(requestId(ports));
  app.onError((thrown, c) => answerProblem(c, errorOf(ports, c, thrown)));
  app.notFound(notFound(app));

  app.route("/", sandboxRoutes(ports));
  app.route("/", moveRoutes(ports));
  app.route("/", execRoutes(ports));
  app.route("/", fileRoutes(ports));
  app.route("/", usageRoutes(ports));
  app.route("/", providerRoutes(ports));
  app.route("/", templateRoutes(ports));
  app.route("/", keyRoutes(ports));
  app.route("/", tenantRoutes(ports));
  documented(app);

  app.route("/", healthRoutes(ports));
  app.route("/", createE2bApp(ports));
  return app;
}
