import { Hono } from "hono";
import { createE2bApp } from "./e2b/app.ts";
import type { ApiEnv } from "./env.ts";
import { notFound } from "./not-found.ts";
import type { ApiPorts } from "./ports.ts";
import { answerProblem, errorOf } from "./problem.ts";
import { requestId } from "./request-id.ts";

/**
 * The whole HTTP API as a value: `app.fetch` serves it on any platform.
 *
 * `/v1` is our own API, with problems for errors; E2B's routes are at the root, with E2B's error
 * bodies. Who needs another page at the root mounts it in front.
 */
export function createApp(ports: ApiPorts): Hono<ApiEnv> {
  const app = new Hono<ApiEnv>();
  app.use(requestId(ports));
  app.onError((thrown, c) => answerProblem(c, errorOf(ports, c, thrown)));
  app.notFound(notFound(app));
  app.route("/", createE2bApp(ports));
  return app;
}
