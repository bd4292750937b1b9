import { HEADERS } from "@soulbox/protocol";
import type { MiddlewareHandler } from "hono";
import type { ApiEnv } from "./env.ts";
import type { ApiPorts } from "./ports.ts";

const WELL_FORMED = /^[A-Za-z0-9_-]{1,64}$/;

/**
 * Names the request: the caller's own `X-Request-Id` when well-formed, else a fresh one. Answers
 * are kept by nobody, as most tell what is true now, and some hold tokens.
 */
export function requestId(ports: ApiPorts): MiddlewareHandler<ApiEnv> {
  return async (c, next) => {
    const given = c.req.header(HEADERS.requestId);
    const id = given !== undefined && WELL_FORMED.test(given) ? given : ports.newRequestId();
    c.set("requestId", id);
    await next();
    c.res.headers.set(HEADERS.requestId, id);
    c.res.headers.set("cache-control", "no-store");
  };
}
