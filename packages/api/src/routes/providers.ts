import { createRoute, type OpenAPIHono } from "@hono/zod-openapi";
import { ProviderView, pageOf } from "@soulbox/protocol";
import type { ApiEnv } from "../env.ts";
import type { ApiPorts } from "../ports.ts";
import { providerView } from "../views.ts";
import { answer, identified, PROBLEMS, routeGroup } from "./parts.ts";

/** Where sandboxes run, and how well they are kept apart there. */
export function providerRoutes(ports: ApiPorts): OpenAPIHono<ApiEnv> {
  const app = routeGroup();
  app.openapi(
    createRoute({
      ...identified(ports),
      method: "get",
      path: "/v1/providers",
      summary: "List providers in failover order, with what they don't enforce",
      responses: { 200: answer(pageOf(ProviderView), "All of them"), ...PROBLEMS },
    }),
    (c) => c.json({ items: ports.providers().map(providerView), next: null }, 200),
  );
  return app;
}
