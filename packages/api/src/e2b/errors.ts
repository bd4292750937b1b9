import type { ControlPlaneError } from "@soulbox/core";
import type { Context } from "hono";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import type { ApiEnv } from "../env.ts";
import { errorHeaders } from "../problem.ts";

/** Wait that a busy answer proposes when nobody knows better, milliseconds. */
const RETRY_MS_DEFAULT = 1000;

/** Answers with E2B's error body, `{code, message}`, where `code` is the HTTP status. */
export function answerE2bError(
  c: Context<ApiEnv>,
  error: ControlPlaneError,
  status: number = e2bStatus(error),
): Response {
  for (const [name, value] of errorHeaders(error)) c.header(name, value);
  if (status === 503) {
    const retryMs = error.retryAfterMs ?? RETRY_MS_DEFAULT;
    c.header("retry-after", String(Math.max(1, Math.ceil(retryMs / 1000))));
  }
  const detail = /[.!?]$/.test(error.detail) ? error.detail : `${error.detail}.`;
  const message = error.hint === undefined ? error.detail : `${detail} ${error.hint}`;
  return c.json({ code: status, message }, status as ContentfulStatusCode);
}

/**
 * The status that E2B's clients understand: what has ended is not found, and a lost race is worth
 * another try, while they read 409 as "paused already".
 */
export function e2bStatus(error: ControlPlaneError): number {
  if (error.code === "sandbox_ended") return 404;
  if (error.code === "version_conflict") return 503;
  return error.status;
}
