import { createRoute, type OpenAPIHono } from "@hono/zod-openapi";
import { ControlPlaneError, LIMITS, parseTenantId, quote, type TenantId } from "@soulbox/core";
import { CreateTenantBody, pageOf, TenantView } from "@soulbox/protocol";
import { z } from "zod";
import { isAllowed } from "../auth.ts";
import type { ApiEnv } from "../env.ts";
import type { ApiPorts } from "../ports.ts";
import { tenantView } from "../views.ts";
import {
  answer,
  guarded,
  guardedBody,
  identified,
  jsonOf,
  PAGE_QUERY,
  PROBLEMS,
  routeGroup,
} from "./parts.ts";

/** Who pays. Operators manage tenants; everybody may look at their own. */
export function tenantRoutes(ports: ApiPorts): OpenAPIHono<ApiEnv> {
  const { keys, clock } = ports;
  const app = routeGroup();

  app.openapi(
    createRoute({
      ...guardedBody(ports, "operator"),
      method: "post",
      path: "/v1/tenants",
      summary: "Add a tenant",
      request: { body: jsonOf(CreateTenantBody) },
      responses: { 201: answer(TenantView, "The tenant"), ...PROBLEMS },
    }),
    async (c) => {
      const { id, name, sandboxCountMax } = c.req.valid("json");
      const createdAtMs = clock.now();
      const tenant = { id: parseTenantId(id), name, sandboxCountMax, createdAtMs };
      await keys.addTenant(tenant);
      return c.json(tenantView(tenant), 201);
    },
  );

  app.openapi(
    createRoute({
      ...guarded(ports, "operator"),
      method: "get",
      path: "/v1/tenants",
      summary: "List tenants",
      request: { query: z.strictObject(PAGE_QUERY) },
      responses: { 200: answer(pageOf(TenantView), "One page"), ...PROBLEMS },
    }),
    async (c) => {
      const { cursor, limit } = c.req.valid("query");
      const page = await keys.listTenants(cursor, limit ?? LIMITS.pageDefault);
      return c.json({ items: page.items.map(tenantView), next: page.next ?? null }, 200);
    },
  );

  app.openapi(
    createRoute({
      ...identified(ports),
      method: "get",
      path: "/v1/tenants/{id}",
      summary: "Look at a tenant",
      request: { params: z.object({ id: z.string().meta({ description: "Tenant id" }) }) },
      responses: { 200: answer(TenantView, "The tenant"), ...PROBLEMS },
    }),
    async (c) => {
      const caller = c.get("caller");
      const { id } = c.req.valid("param");
      const isVisible = id === caller.tenantId || isAllowed(caller, "operator");
      const tenant = isVisible ? await keys.getTenant(id as TenantId) : undefined;
      if (tenant === undefined) {
        throw new ControlPlaneError("not_found", `There is no tenant ${quote(id)}.`);
      }
      return c.json(tenantView(tenant), 200);
    },
  );

  return app;
}
