import type { IncomingMessage } from "node:http";
import { AGENT_PORT, HEADERS } from "@soulbox/protocol";
import type { Route } from "./ports.ts";
import type { Place } from "./resolve.ts";

/** Headers that end here: they speak of this connection, or to the gateway. */
const REQUEST_DROPPED = new Set([
  "connection",
  "keep-alive",
  "proxy-connection",
  "proxy-authorization",
  "te",
  "transfer-encoding",
  "content-length",
  "upgrade",
  "http2-settings",
  "expect",
  "host",
  "e2b-traffic-access-token",
  HEADERS.sandboxId,
  HEADERS.sandboxPort,
]);

const RESPONSE_DROPPED = new Set([
  "connection",
  "keep-alive",
  "proxy-connection",
  "transfer-encoding",
  "upgrade",
]);

/** Never dropped because a client named them in `Connection`: they carry meaning here. */
const NEVER_NOMINATED = new Set(["host", "content-length", "transfer-encoding", "trailer"]);

/**
 * Headers for the agent, names and values in turn. Hop-by-hop headers, the gateway's own and every
 * `soulbox-…` of the client are gone; port and launch are set by us; everything else is as it was,
 * duplicates and spelling included. Framing (`content-length`, `transfer-encoding`) is left out.
 */
export function requestHeaders(request: IncomingMessage, place: Place, route: Route): string[] {
  const raw = request.rawHeaders;
  const nominated = nominatedBy(request.headers.connection);
  const headers: string[] = ["host", hostFor(request, place.port, route.maskRequestHost)];
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = raw[i] ?? "";
    const lower = name.toLowerCase();
    if (REQUEST_DROPPED.has(lower) || lower.startsWith("soulbox-")) continue;
    if (nominated?.has(lower)) continue;
    headers.push(name, raw[i + 1] ?? "");
  }
  headers.push(HEADERS.sandboxId, place.sandboxId);
  headers.push(HEADERS.sandboxPort, String(place.port), HEADERS.launchId, route.launchId);
  return headers;
}

/**
 * Headers for the client, names and values in turn, without those that spoke of the connection to
 * the agent. With an `Origin` in the request, the agent's answers may be read by any origin.
 *
 * @param raw As the upstream sent them, as text or as bytes.
 * @returns `hasLength` when there is a `content-length` among them.
 */
export function responseHeaders(
  raw: readonly (string | Buffer)[],
  request: IncomingMessage,
  port: number,
): { readonly headers: string[]; readonly hasLength: boolean } {
  const headers: string[] = [];
  let hasLength = false;
  let isOpen = port !== AGENT_PORT || request.headers.origin === undefined;
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = textOf(raw[i]);
    const lower = name.toLowerCase();
    if (RESPONSE_DROPPED.has(lower) || lower.startsWith("soulbox-")) continue;
    if (lower === "access-control-allow-origin") isOpen = true;
    else if (lower === "content-length") hasLength = true;
    headers.push(name, textOf(raw[i + 1]));
  }
  if (!isOpen) headers.push("access-control-allow-origin", "*");
  return { headers, hasLength };
}

/** Trailers as pairs, from names and values in turn. */
export function pairsOf(raw: readonly (string | Buffer)[]): [string, string][] {
  const pairs: [string, string][] = [];
  for (let i = 0; i + 1 < raw.length; i += 2) pairs.push([textOf(raw[i]), textOf(raw[i + 1])]);
  return pairs;
}

/** True when the request carries a body, of known length or chunked. */
export function hasBody(request: IncomingMessage): boolean {
  const { headers } = request;
  if (headers["transfer-encoding"] !== undefined) return true;
  const length = headers["content-length"];
  return length !== undefined && Number(length) !== 0;
}

function hostFor(request: IncomingMessage, port: number, mask: string | undefined): string {
  if (port === AGENT_PORT || mask === undefined) return request.headers.host ?? "";
  return mask.replaceAll("${" + "PORT}", String(port));
}

function nominatedBy(connection: string | undefined): Set<string> | undefined {
  if (connection === undefined || connection === "keep-alive" || connection === "close") {
    return undefined;
  }
  const names = connection.split(",").map((name) => name.trim().toLowerCase());
  return new Set(names.filter((name) => !NEVER_NOMINATED.has(name)));
}

function textOf(part: string | Buffer | undefined): string {
  return typeof part === "string" ? part : (part?.toString("latin1") ?? "");
}
