import { createRoute, type OpenAPIHono } from "@hono/zod-openapi";
import {
  type ApiKey,
  type Caller,
  ControlPlaneError,
  type EpochMs,
  epochMs,
  LIMITS,
  parseTenantId,
  quote,
  type TenantId,
} from "@soulbox/core";
import { CreateKeyBody, KeyView, NewKeyView, pageOf } from "@soulbox/protocol";
import { z } from "zod";
import { requireScope } from "../auth.ts";
import type { ApiEnv } from "../env.ts";
import type { ApiPorts } from "../ports.ts";
import { keyView, timeOf } from "../views.ts";
import { answer, guarded, guardedBody, jsonOf, PAGE_QUERY, PROBLEMS, routeGroup } from "./parts.ts";

/** Characters of the hash that name a key. */
const ID_CHARS = 12;

const tenantQuery = { tenantId: z.string().optional().openapi({ description: "Operators only" }) };

/** API keys of a tenant. */
export function keyRoutes(ports: ApiPorts): OpenAPIHono<ApiEnv> {
  const { keys, clock } = ports;
  const app = routeGroup();

  app.openapi(
    createRoute({
      ...guardedBody(ports, "keys"),
      method: "post",
      path: "/v1/keys",
      summary: "Make an API key",
      description: "The answer is the only one that holds the key itself.",
      request: { body: jsonOf(CreateKeyBody) },
      responses: { 201: answer(NewKeyView, "The key"), ...PROBLEMS },
    }),
    async (c) => {
      const caller = c.get("caller");
      const body = c.req.valid("json");
      const scopes = [...new Set(body.scopes)];
      for (const scope of scopes) requireScope(caller, scope);
      const secret = ports.randomKey();
      const hash = await ports.sha256(secret);
      const key: ApiKey = {
        id: hash.slice(0, ID_CHARS),
        hash,
        tenantId: tenantOf(caller, body.tenantId),
        name: body.name,
        scopes,
        createdAtMs: clock.now(),
        expiresAtMs: expiryOf(body.expiresAt, clock.now()),
      };
      await keys.addKey(key);
      ports.log("key.created", { keyId: key.id, tenantId: key.tenantId, scopes });
      return c.json({ ...keyView(key), secret }, 201);
    },
  );

  app.openapi(
    createRoute({
      ...guarded(ports, "keys"),
      method: "get",
      path: "/v1/keys",
      summary: "List API keys",
      request: { query: z.strictObject({ ...PAGE_QUERY, ...tenantQuery }) },
      responses: { 200: answer(pageOf(KeyView), "One page"), ...PROBLEMS },
    }),
    async (c) => {
      const { cursor, limit, tenantId } = c.req.valid("query");
      const owner = tenantOf(c.get("caller"), tenantId);
      const page = await keys.listKeys(owner, cursor, limit ?? LIMITS.pageDefault);
      return c.json({ items: page.items.map(keyView), next: page.next ?? null }, 200);
    },
  );

  app.openapi(
    createRoute({
      ...guarded(ports, "keys"),
      method: "delete",
      path: "/v1/keys/{id}",
      summary: "Remove an API key",
      description: "It is refused from the answer on.",
      request: {
        params: z.object({ id: z.string().meta({ description: "Key id" }) }),
        query: z.strictObject(tenantQuery),
      },
      responses: { 204: { description: "It is removed" }, ...PROBLEMS },
    }),
    async (c) => {
      const { id } = c.req.valid("param");
      const owner = tenantOf(c.get("caller"), c.req.valid("query").tenantId);
      if (!(await keys.removeKey(owner, id))) {
        throw new ControlPlaneError("not_found", `There is no API key ${quote(id)}.`);
      }
      ports.log("key.removed", { keyId: id, tenantId: owner });
      return c.body(null, 204);
    },
  );

  return app;
}

/** The tenant that is meant: the caller's own, or for an operator the one that is named. */
function tenantOf(caller: Caller, named: string | undefined): TenantId {
  if (named === undefined || named === caller.tenantId) return caller.tenantId;
  if (caller.scopes.has("operator")) return parseTenantId(named);
  throw new ControlPlaneError("not_found", `There is no tenant ${quote(named)}.`);
}

function expiryOf(text: string | undefined, nowMs: EpochMs): EpochMs | undefined {
  if (text === undefined) return undefined;
  const expiresAtMs = epochMs(Date.parse(text));
  if (expiresAtMs > nowMs) return expiresAtMs;
  const detail = `expiresAt is ${timeOf(expiresAtMs)}, which is not after now, ${timeOf(nowMs)}.`;
  throw new ControlPlaneError("invalid_request", detail);
}
