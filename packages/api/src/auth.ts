import { type Caller, ControlPlaneError, type Scope } from "@soulbox/core";
import { HEADERS } from "@soulbox/protocol";
import type { MiddlewareHandler } from "hono";
import type { ApiEnv } from "./env.ts";
import type { ApiPorts } from "./ports.ts";

/** Longest credential that is looked at; keys have 44 characters. */
const KEY_CHARS_MAX = 512;
const BEARER = /^Bearer +(\S+) *$/i;

/**
 * Lets a request through when its key carries `scope`, and leaves its {@link Caller} in `c.var`.
 *
 * @throws unauthenticated without a valid key; forbidden when the key lacks the scope.
 */
export function allow(ports: ApiPorts, scope: Scope): MiddlewareHandler<ApiEnv> {
  return async (c, next) => {
    const caller = await authenticate(ports, c.req.raw.headers);
    requireScope(caller, scope);
    c.set("caller", caller);
    await next();
  };
}

/** Lets a request through for any valid key. */
export function identify(ports: ApiPorts): MiddlewareHandler<ApiEnv> {
  return async (c, next) => {
    c.set("caller", await authenticate(ports, c.req.raw.headers));
    await next();
  };
}

/**
 * Finds out who asks: `X-API-KEY`, or `Authorization: Bearer <key>`. Only the key's SHA-256 is
 * looked up.
 *
 * @throws unauthenticated when there is no key, or it is unknown or expired.
 */
export async function authenticate(ports: ApiPorts, headers: Headers): Promise<Caller> {
  const secret = credential(headers);
  if (secret === undefined) {
    throw new ControlPlaneError("unauthenticated", "The request carries no API key.", {
      hint: "Send the header X-API-KEY, or Authorization: Bearer <key>.",
    });
  }
  const found =
    secret.length > KEY_CHARS_MAX ? undefined : await ports.keys.find(await ports.sha256(secret));
  if (found === undefined) {
    throw new ControlPlaneError("unauthenticated", "The API key is not known here.");
  }
  const { key, tenant } = found;
  if (key.expiresAtMs !== undefined && key.expiresAtMs <= ports.clock.now()) {
    const ended = new Date(key.expiresAtMs).toISOString();
    throw new ControlPlaneError("unauthenticated", `The API key ${key.id} expired at ${ended}.`);
  }
  return {
    tenantId: tenant.id,
    scopes: new Set(key.scopes),
    sandboxCountMax: tenant.sandboxCountMax,
  };
}

/** True when the caller's scopes cover `scope`: `operator` covers all, `sandboxes` also reading. */
export function isAllowed(caller: Caller, scope: Scope): boolean {
  if (caller.scopes.has(scope) || caller.scopes.has("operator")) return true;
  return scope === "sandboxes:read" && caller.scopes.has("sandboxes");
}

/** @throws forbidden when the caller's scopes don't cover `scope`. */
export function requireScope(caller: Caller, scope: Scope): void {
  if (isAllowed(caller, scope)) return;
  throw new ControlPlaneError("forbidden", `The API key lacks the scope ${scope}.`, {
    hint: `Use a key that was made with the scope ${scope}.`,
    details: { scope },
  });
}

function credential(headers: Headers): string | undefined {
  const apiKey = headers.get(HEADERS.apiKey)?.trim();
  if (apiKey !== undefined && apiKey !== "") return apiKey;
  return BEARER.exec(headers.get("authorization") ?? "")?.[1];
}
