import { ControlPlaneError } from "@soulbox/core";
import { CODES, type Problem } from "@soulbox/protocol";
import type { Context } from "hono";
import { HTTPException } from "hono/http-exception";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import type { ApiEnv } from "./env.ts";
import type { ApiPorts } from "./ports.ts";

const PATH_CHARS_MAX = 256;

/** Answers with a problem: the only producer of `/v1` error bodies. */
export function answerProblem(
  c: Context<ApiEnv>,
  error: ControlPlaneError,
  status: number = error.status,
): Response {
  for (const [name, value] of errorHeaders(error)) c.header(name, value);
  return c.json(problemOf(c, error, status), status as ContentfulStatusCode, {
    "content-type": "application/problem+json",
  });
}

/** An error as the wire has it. Its cause stays here. */
export function problemOf(
  c: Context<ApiEnv>,
  error: ControlPlaneError,
  status: number = error.status,
): Problem {
  return {
    type: `urn:soulbox:problem:${error.code}`,
    title: CODES[error.code].title,
    status,
    detail: error.detail,
    instance: c.req.path.slice(0, PATH_CHARS_MAX),
    code: error.code,
    ...(error.hint === undefined ? {} : { hint: error.hint }),
    retryable: error.retryable,
    ...(error.retryAfterMs === undefined ? {} : { retryAfterMs: error.retryAfterMs }),
    requestId: c.get("requestId"),
    ...(Object.keys(error.details).length === 0 ? {} : { details: { ...error.details } }),
  };
}

/** Headers that an error carries on every API: when to try again, how to authenticate. */
export function errorHeaders(error: ControlPlaneError): [string, string][] {
  const headers: [string, string][] = [];
  if (error.retryAfterMs !== undefined) {
    headers.push(["retry-after", String(Math.max(1, Math.ceil(error.retryAfterMs / 1000)))]);
  }
  if (error.code === "unauthenticated") headers.push(["www-authenticate", "Bearer"]);
  return headers;
}

/**
 * Any thrown value as our error. What isn't ours becomes `internal`, tells the caller nothing and
 * goes to the log whole.
 */
export function errorOf(ports: ApiPorts, c: Context<ApiEnv>, thrown: unknown): ControlPlaneError {
  const error =
    thrown instanceof HTTPException && thrown.status < 500
      ? new ControlPlaneError("invalid_request", "The request can't be read.", { cause: thrown })
      : ControlPlaneError.from(thrown);
  // Work that a leaving client cut short has failed for nobody.
  if (error.status >= 500 && !c.req.raw.signal.aborted) {
    ports.log("request.failed", {
      requestId: c.get("requestId"),
      method: c.req.method,
      path: c.req.path.slice(0, PATH_CHARS_MAX),
      code: error.code,
      error: thrown,
    });
  }
  return error;
}

/** The error for a path that exists, but not with this method. Answered with 405. */
export function methodError(method: string, allowed: readonly string[]): ControlPlaneError {
  return new ControlPlaneError("invalid_request", `${method} is not possible here.`, {
    hint: `Allowed: ${allowed.join(", ")}.`,
  });
}

/** The error for a path that nothing stands for. */
export function pathError(): ControlPlaneError {
  return new ControlPlaneError("not_found", "There is no such path.", {
    hint: "The paths are listed at /openapi.json.",
  });
}
