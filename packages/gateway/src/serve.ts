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
  try {
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
      serveSigned(desk, exchange).catch((error) => fail(desk, exchange, error));
    } else if (target.port === AGENT_PORT && isControlRoute(url)) {
      refuse(exchange, controlRoute(url));
    } else {
      route(desk, exchange, target, 0);
    }
  } catch (error) {
    fail(desk, exchange, error);
  }
}

/** What was thrown is our own mistake, which must cost no more than one request. */
function fail(desk: Desk, exchange: Exchange, error: unknown): void {
  desk.ports.log("gateway.failed", { error });
  refuse(exchange, unavailable("The gateway failed; try again", "failed"));
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
  const { ports, limits, waker } = desk;
  const admission = admit(exchange.request, place, ports, limits, waker);
  if (admission instanceof Promise) {
    admission
      .then((given) => enter(desk, exchange, place, given, tries))
      .catch((error) => fail(desk, exchange, error));
  } else enter(desk, exchange, place, admission, tries);
}

function enter(
  desk: Desk,
  exchange: Exchange,
  place: Place,
  admission: Admission,
  tries: number,
): void {
  if (!exchange.hasClient) return;
  if (admission.kind === "refused") refuse(exchange, admission.refusal);
  else new Delivery(desk, exchange, place, admission.route, tries).begin();
}

/** One attempt to hand an exchange to an agent. */
class Delivery {
  readonly #desk: Desk;
  readonly #exchange: Exchange;
  readonly #place: Place;
  readonly #route: Route;
  readonly #tries: number;

  constructor(desk: Desk, exchange: Exchange, place: Place, route: Route, tries: number) {
    this.#desk = desk;
    this.#exchange = exchange;
    this.#place = place;
    this.#route = route;
    this.#tries = tries;
  }

  begin(): void {
    const exchange = this.#exchange;
    const { sandboxId } = this.#place;
    const { pools, limits } = this.#desk;
    let lease: Lease | "limit" | "full";
    try {
      lease = pools.acquire(sandboxId, this.#route);
    } catch (error) {
      this.onFailure(error instanceof Error ? error : new Error(String(error)), true);
      return;
    }
    if (lease === "limit") {
      refuse(exchange, tooManyConnections(sandboxId, limits.requestCountMax));
    } else if (lease === "full") {
      refuse(exchange, unavailable("The gateway serves too many sandboxes; try again", "full"));
    } else {
      exchange.lease = lease;
      exchange.port = this.#place.port;
      const headers = requestHeaders(exchange.request, this.#place, this.#route);
      const { upstream } = lease;
      const onFailure = (error: Error, isUnsent: boolean) => this.onFailure(error, isUnsent);
      const to = { exchange, upstream, headers, onFailure };
      if (exchange.upgrade === undefined) forward(to);
      else splice(to, exchange.upgrade, limits.upgradeMsMax);
    }
  }

  /** Nothing was answered. When nothing was sent either, it may be tried anew, once. */
  onFailure(error: Error, isUnsent: boolean): void {
    const desk = this.#desk;
    const exchange = this.#exchange;
    const { sandboxId } = this.#place;
    if (error instanceof ConnectFailure) exchange.lease?.discard();
    exchange.lease?.release();
    exchange.lease = undefined;
    if (!exchange.hasClient) return;
    desk.ports.log("gateway.unreachable", { sandboxId, launchId: this.#route.launchId, error });
    try {
      // Perhaps it has just ended, moved, or started its agent anew: look again.
      if (isUnsent && this.#tries === 0) route(desk, exchange, this.#place, 1);
      else refuse(exchange, unreachableAgent(sandboxId));
    } catch (mistake) {
      fail(desk, exchange, mistake);
    }
  }
}

function isPreflight({ request }: Exchange, target: Target): boolean {
  if (request.method !== "OPTIONS" || request.headers.origin === undefined) return false;
  if (request.headers["access-control-request-method"] === undefined || hasBody(request)) {
    return false;
  }
  return target.kind === "signed" || (target.kind === "sandbox" && target.port === AGENT_PORT);
}
