import type { IncomingMessage, ServerResponse } from "node:http";

/** An answer that the gateway gives by itself. */
export interface Refusal {
  /** HTTP status. */
  readonly status: number;
  /** What is counted under `refused`. */
  readonly reason: string;
  /** The JSON body. */
  readonly body: Readonly<Record<string, unknown>>;
  /** Further headers; none by default. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** Longest that a client may go on sending a body that nobody wants, milliseconds. */
const DISCARD_MS_MAX = 5_000;
/** Most of such a body that is read away, bytes: enough for a client to see the answer. */
const DISCARD_BYTES_MAX = 8 * 1024 * 1024;

/** The request cannot be trusted or understood. */
export function malformed(message: string, sandboxId?: string): Refusal {
  const body = sandboxId === undefined ? { message, code: 400 } : { sandboxId, message, code: 400 };
  return { status: 400, reason: "malformed", body };
}

/** Unknown, ended, or paused without auto resume. E2B's clients test the words. */
export function notFound(sandboxId: string): Refusal {
  return {
    status: 502,
    reason: "not_found",
    body: { sandboxId, message: "The sandbox was not found", code: 502 },
  };
}

/** The sandbox is there, its agent does not answer. */
export function unreachableAgent(sandboxId: string): Refusal {
  return {
    status: 502,
    reason: "unreachable",
    body: { sandboxId, message: "The sandbox did not answer", code: 502 },
  };
}

/** It is on its way from one state to another. */
export function changingState(sandboxId: string): Refusal {
  return {
    status: 409,
    reason: "busy",
    body: { sandboxId, message: "The sandbox is changing its state; try again", code: 409 },
    headers: { "retry-after": "1" },
  };
}

/** A private port was asked for without the sandbox's traffic token, or with a wrong one. */
export function trafficTokenRefused(sandboxId: string, isMissing: boolean): Refusal {
  const fault = isMissing ? "missing" : "wrong";
  return {
    status: 403,
    reason: "traffic_token",
    body: {
      sandboxId,
      message: `The traffic access token in the header e2b-traffic-access-token is ${fault}`,
      code: 403,
    },
  };
}

/** A route of the agent that only the control plane may use. */
export function controlRoute(path: string): Refusal {
  return {
    status: 404,
    reason: "control_route",
    body: { message: "There is no such route", path, code: 404 },
  };
}

/** One sandbox has as many requests under way as it may. */
export function tooManyConnections(sandboxId: string, connectionLimit: number): Refusal {
  return {
    status: 429,
    reason: "limit",
    body: {
      sandboxId,
      message: "Too many connections to the sandbox",
      connectionLimit,
      code: 429,
    },
    headers: { "retry-after": "1" },
  };
}

/** The gateway cannot serve this now; the same request may succeed later. */
export function unavailable(message: string, reason: string, retryAfterS = 1): Refusal {
  return {
    status: 503,
    reason,
    body: { message, code: 503 },
    headers: { "retry-after": String(retryAfterS) },
  };
}

/** A signed file URL that opens no sandbox. The body is the agent's own, to the letter. */
export function signatureRefused(message: string): Refusal {
  return { status: 401, reason: "signature", body: { code: 401, message } };
}

/**
 * Writes a refusal. Does nothing when the client is gone; cuts the connection when an answer is
 * already under way. A body still being sent is read away within bounds, then cut.
 */
export function answer(request: IncomingMessage, response: ServerResponse, refusal: Refusal): void {
  if (response.destroyed) return;
  if (response.headersSent) {
    response.destroy();
    return;
  }
  const text = JSON.stringify(refusal.body);
  const headers: Record<string, string> = {
    "content-type": "application/json",
    "content-length": String(Buffer.byteLength(text)),
    ...refusal.headers,
  };
  if (request.headers.origin !== undefined) headers["access-control-allow-origin"] = "*";
  // What follows a malformed request on the same connection can't be trusted either.
  if (refusal.status === 400) headers.connection = "close";
  response.writeHead(refusal.status, headers);
  response.end(request.method === "HEAD" ? undefined : text);
  discardBody(request);
}

/** Answers a browser's preflight for the agent: any origin, method and header. */
export function answerPreflight(request: IncomingMessage, response: ServerResponse): void {
  response.writeHead(204, {
    "access-control-allow-origin": "*",
    "access-control-allow-methods": "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
    "access-control-allow-headers": request.headers["access-control-request-headers"] ?? "*",
    "access-control-max-age": "7200",
    vary: "access-control-request-headers",
  });
  response.end();
  discardBody(request);
}

/**
 * Reads away what is left of a request's body, so that its client gets to see the answer. Past
 * 8 MiB or 5 s the connection is destroyed.
 */
export function discardBody(request: IncomingMessage): void {
  if (request.complete || request.destroyed) return;
  let leftBytes = DISCARD_BYTES_MAX;
  const timer = setTimeout(() => request.destroy(), DISCARD_MS_MAX);
  timer.unref();
  request.on("data", (chunk: Buffer) => {
    leftBytes -= chunk.length;
    if (leftBytes < 0) request.destroy();
  });
  request.on("close", () => clearTimeout(timer));
  request.on("end", () => clearTimeout(timer));
  request.resume();
}
