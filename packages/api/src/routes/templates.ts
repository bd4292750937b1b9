import { createRoute, type OpenAPIHono } from "@hono/zod-openapi";
import { pageOf, TemplateView } from "@soulbox/protocol";
import type { ApiEnv } from "../env.ts";
import type { ApiPorts } from "../ports.ts";
import { templateView } from "../views.ts";
import { answer, identified, PROBLEMS, routeGroup } from "./parts.ts";

/** What sandboxes boot from. */
export function templateRoutes(ports: ApiPorts): OpenAPIHono<ApiEnv> {
  const app = routeGroup();
  app.openapi(
    createRoute({
      ...identified(ports),
      method: "get",
      path: "/v1/templates",
      summary: "List templates",
      responses: { 200: answer(pageOf(TemplateView), "All of them"), ...PROBLEMS },
    }),
    (c) => c.json({ items: ports.templates.list().map(templateView), next: null }, 200),
  );
  return app;
}
