import type { Context, Hono, NotFoundHandler } from "hono";
import { answerE2bError } from "./e2b/errors.ts";
import type { ApiEnv } from "./env.ts";
import { answerProblem, methodError, pathError } from "./problem.ts";

const METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"] as const;

/** 405 with `Allow` where the path exists, else 404; in the words of the API that was asked. */
export function notFound(app: Hono<ApiEnv>): NotFoundHandler<ApiEnv> {
  return (c) => {
    const allowed = METHODS.filter((method) => isRouted(app, method, c.req.path));
    const error = allowed.length === 0 ? pathError() : methodError(c.req.method, allowed);
    const status = allowed.length === 0 ? 404 : 405;
    if (status === 405) c.header("allow", allowed.join(", "));
    return isNative(c) ? answerProblem(c, error, status) : answerE2bError(c, error, status);
  };
}

/** True for a request to our own API, whose errors are problems. */
export function isNative(c: Context): boolean {
  return c.req.path === "/v1" || c.req.path.startsWith("/v1/");
}

/** Middleware is routed under every method; only what names its method counts. */
function isRouted(app: Hono<ApiEnv>, method: string, path: string): boolean {
  const [handlers] = app.router.match(method, path);
  return handlers.some(([[, route]]) => route.method === method);
}
