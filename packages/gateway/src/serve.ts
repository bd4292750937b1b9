import { AGENT_PORT } from "@soulbox/protocol";
import {
  answer,
  answerPreflight,
  controlRoute,
  malformed,
  type Refusal,
  signatureRefused,
  tooManyConnections,
  unavailable,
  unreachableAgent,
} from "./answers.ts";
import { ConnectFailure } from "./connect.ts";
import { isControlRoute } from "./control-routes.ts";
import type { Exchange } from "./exchange.ts";
import { hasBody, requestHeaders } from "./headers.ts";
import type { Lease, Pools } from "./pools.ts";
import type { GatewayLimits, GatewayPorts, Route } from "./ports.ts";
import { forward } from "./proxy.ts";
import { type Admission, admit, type Place } from "./resolve.ts";
import { readSignedUrl, type SignatureIndex } from "./signature.ts";
import { splice } from "./splice.ts";
import type { Target } from "./target.ts";
import type { Waker } from "./wake.ts";

/** What serving an exchange needs. */
export interface Desk {
  readonly ports: GatewayPorts;
  readonly limits: GatewayLimits;
  readonly pools: Pools;
  readonly signatures: SignatureIndex;
  readonly waker: Waker;
}

/** Gives the gateway's own answer, and counts it. */
export function refuse({ request, response, counters }: Exchange, refusal: Refusal): void {
  counters.refused[refusal.reason] = (counters.refused[refusal.reason] ?? 0) + 1;
  answer(request, response, refusal);
}

/** Serves one exchange, step by step: whom for, may it, where, go. Never throws. */
export function serve(desk: Desk, exchange: Exchange, target: Target): void {
  attempt(desk, exchange, () => {
    const { request, response } = exchange;
    const url = request.url ?? "";
    if (isPreflight(exchange, target)) {
      answerPreflight(request, response);
    } else if (exchange.upgrade !== undefined && hasBody(request)) {
      refuse(exchange, malformed("An upgrade can't carry a body"));
    } else if (target.kind === "api") {
      refuse(exchange, malformed("The request names no sandbox"));
    } else if (target.kind === "refused") {
      refuse(exchange, target.refusal);
    } else if (target.kind === "signed") {
      return serveSigned(desk, exchange);
    } else if (target.port === AGENT_PORT && isControlRoute(url)) {
      refuse(exchange, controlRoute(url));
    } else {
      route(desk, exchange, target, 0);
    }
    return undefined;
  });
}

/** Finds the sandbox of a signed file URL by its signature. */
async function serveSigned(desk: Desk, exchange: Exchange): Promise<void> {
  const { method = "", url = "" } = exchange.request;
  const signed = readSignedUrl(method, url, Date.now());
  if ("status" in signed) {
    refuse(exchange, signed);
    return;
  }
  let sandboxId: string | undefined;
  try {
    sandboxId = await desk.signatures.find(signed);
  } catch (error) {
    desk.ports.log("gateway.owners_failed", { error });
    refuse(exchange, unavailable("The sandbox can't be looked up now; try again", "owners_failed"));
    return;
  }
  if (sandboxId === undefined) refuse(exchange, signatureRefused("invalid signature"));
  else route(desk, exchange, { sandboxId, port: AGENT_PORT }, 0);
}

function route(desk: Desk, exchange: Exchange, place: Place, tries: number): void {
  attempt(desk, exchange, () => {
    const go = (admission: Admission) => {
      if (!exchange.hasClient) return;
      if (admission.kind === "refused") refuse(exchange, admission.refusal);
      else send(desk, exchange, place, admission.route, tries);
    };
    const { ports, limits, waker } = desk;
    const admission = admit(exchange.request, place, ports, limits, waker);
    if (admission instanceof Promise) return admission.then(go);
    go(admission);
    return undefined;
  });
}

function send(desk: Desk, exchange: Exchange, place: Place, to: Route, tries: number): void {
  const { sandboxId, port } = place;
  let lease: Lease | "limit" | "full";
  const onFailure = (error: Error, isUnsent: boolean) => {
    if (typeof lease === "object") {
      if (error instanceof ConnectFailure) lease.discard();
      lease.release();
    }
    if (!exchange.hasClient) return;
    desk.ports.log("gateway.unreachable", { sandboxId, launchId: to.launchId, error });
    // Nothing was sent: perhaps it has just ended, moved, or started its agent anew. Look again.
    if (isUnsent && tries === 0) route(desk, exchange, place, 1);
    else refuse(exchange, unreachableAgent(sandboxId));
  };
  try {
    lease = desk.pools.acquire(sandboxId, to);
  } catch (error) {
    lease = "full";
    onFailure(error instanceof Error ? error : new Error(String(error)), true);
    return;
  }
  if (lease === "limit") {
    refuse(exchange, tooManyConnections(sandboxId, desk.limits.requestCountMax));
    return;
  }
  if (lease === "full") {
    refuse(exchange, unavailable("The gateway serves too many sandboxes; try again", "full"));
    return;
  }
  exchange.lease = lease;
  exchange.port = port;
  const { launchId, maskRequestHost } = to;
  const headers = requestHeaders(exchange.request, { sandboxId, port, launchId, maskRequestHost });
  const job = { exchange, upstream: lease.upstream, headers, onFailure };
  if (exchange.upgrade === undefined) forward(job);
  else splice(job, exchange.upgrade, desk.limits.upgradeMsMax);
}

/** Runs a step; what it throws is our own mistake, which must cost no more than one request. */
function attempt(desk: Desk, exchange: Exchange, step: () => Promise<void> | undefined): void {
  const fail = (error: unknown) => {
    desk.ports.log("gateway.failed", { error });
    refuse(exchange, unavailable("The gateway failed; try again", "failed"));
  };
  try {
    step()?.catch(fail);
  } catch (error) {
    fail(error);
  }
}

function isPreflight({ request }: Exchange, target: Target): boolean {
  if (request.method !== "OPTIONS" || request.headers.origin === undefined) return false;
  if (request.headers["access-control-request-method"] === undefined || hasBody(request)) {
    return false;
  }
  return target.kind === "signed" || (target.kind === "sandbox" && target.port === AGENT_PORT);
}
