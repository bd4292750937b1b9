import { type IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
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
import { Downstream } from "./downstream.ts";
import { hasBody, requestHeaders } from "./headers.ts";
import { createPools, type Lease } from "./pools.ts";
import { GATEWAY_LIMITS, type GatewayLimits, type GatewayPorts } from "./ports.ts";
import { forward } from "./proxy.ts";
import { admit, type Place } from "./resolve.ts";
import { createSignatureIndex, readSignedUrl } from "./signature.ts";
import { splice } from "./splice.ts";
import { createCounters, type GatewayStats } from "./stats.ts";
import { type Target, targetOf } from "./target.ts";
import { createWaker } from "./wake.ts";

/** The data plane, as handlers for an HTTP server. */
export interface Gateway {
  /** True when a request is for a sandbox, however badly formed; false when it is the API's. */
  claims(request: IncomingMessage): boolean;
  /**
   * Serves a request that {@link Gateway.claims} has claimed. Never throws.
   *
   * @param expectsContinue True for Node's event `checkContinue`: the `100 Continue` is then sent
   *   once the sandbox is connected, and never for a refused request. Default false.
   */
  handle(request: IncomingMessage, response: ServerResponse, expectsContinue?: boolean): void;
  /** Serves Node's event `upgrade` for a claimed request. Never throws. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void;
  /**
   * Breaks off everything that is under way to a sandbox. For the one who ends or pauses it: a
   * frozen agent can't close its connections itself.
   */
  cut(sandboxId: string): void;
  /**
   * Takes nothing more (503), lets what is under way end, then breaks the rest off.
   *
   * @param graceMs How long to wait, milliseconds.
   */
  close(graceMs: number): Promise<void>;
  /** What was counted so far; live. */
  readonly stats: GatewayStats;
}

/** One request or upgrade of a client. */
interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly expectsContinue: boolean;
  /** Present for an upgrade. */
  readonly upgrade: { readonly socket: Duplex; readonly head: Buffer } | undefined;
}

/** Makes a gateway. It holds no state but connections. */
export function createGateway(ports: GatewayPorts): Gateway {
  const limits: GatewayLimits = { ...GATEWAY_LIMITS, ...ports.limits };
  const counters = createCounters();
  const pools = createPools(limits, () => performance.now());
  const signatures = createSignatureIndex(() => ports.owners(), { triesMax: limits.ownerCountMax });
  const waker = createWaker(
    (sandboxId, signal) => ports.wake(sandboxId, signal),
    limits.wakeMsMax,
    () => {
      counters.wakes += 1;
    },
  );
  const underWay = new Set<Exchange>();
  let isClosing = false;
  let onIdle: (() => void) | undefined;

  function begin(exchange: Exchange): void {
    counters.requests += 1;
    counters.active += 1;
    underWay.add(exchange);
    const owner = exchange.upgrade?.socket ?? exchange.response;
    owner.once("close", () => {
      counters.active -= 1;
      underWay.delete(exchange);
      if (underWay.size === 0) onIdle?.();
    });
    serve(exchange).catch((error: unknown) => {
      ports.log("gateway.failed", { error });
      refuse(exchange, unavailable("The gateway failed; try again", "failed"));
    });
  }

  function refuse({ request, response }: Exchange, refusal: Refusal): void {
    counters.refused[refusal.reason] = (counters.refused[refusal.reason] ?? 0) + 1;
    if (isClosing && !response.headersSent) response.shouldKeepAlive = false;
    answer(request, response, refusal);
  }

  async function serve(exchange: Exchange): Promise<void> {
    const { request, response } = exchange;
    if (isClosing) {
      refuse(exchange, unavailable("The gateway is stopping; try again", "closing"));
      return;
    }
    const target = targetOf({
      method: request.method ?? "",
      url: request.url ?? "",
      rawHeaders: request.rawHeaders,
    });
    if (isPreflight(request, target)) {
      answerPreflight(request, response);
      return;
    }
    if (exchange.upgrade !== undefined && hasBody(request)) {
      refuse(exchange, malformed("An upgrade can't carry a body"));
      return;
    }
    const place = await placeOf(exchange, target);
    if (place !== undefined) await route(exchange, place, 0);
  }

  /** The sandbox and port that the request is for; `undefined` when it was refused. */
  async function placeOf(exchange: Exchange, target: Target): Promise<Place | undefined> {
    const { request } = exchange;
    const url = request.url ?? "";
    switch (target.kind) {
      case "api":
        refuse(exchange, malformed("The request names no sandbox"));
        return undefined;
      case "refused":
        refuse(exchange, target.refusal);
        return undefined;
      case "sandbox":
        if (target.port !== AGENT_PORT || !isControlRoute(url)) return target;
        refuse(exchange, controlRoute(url));
        return undefined;
      case "signed": {
        const signed = readSignedUrl(request.method ?? "", url, Date.now());
        if ("status" in signed) {
          refuse(exchange, signed);
          return undefined;
        }
        let sandboxId: string | undefined;
        try {
          sandboxId = await signatures.find(signed);
        } catch (error) {
          ports.log("gateway.owners_failed", { error });
          refuse(exchange, unavailable("The file's sandbox can't be looked up now", "owners"));
          return undefined;
        }
        if (sandboxId !== undefined) return { sandboxId, port: AGENT_PORT };
        refuse(exchange, signatureRefused("invalid signature"));
        return undefined;
      }
    }
  }

  async function route(exchange: Exchange, place: Place, tries: number): Promise<void> {
    const { request, response } = exchange;
    const admission = await admit(request, place, ports, limits, waker);
    if (response.destroyed) return;
    if (admission.kind === "refused") {
      refuse(exchange, admission.refusal);
      return;
    }
    const { launchId, maskRequestHost } = admission.route;
    const onFailure = (error: Error, isUnsent: boolean) => {
      ports.log("gateway.unreachable", { sandboxId: place.sandboxId, launchId, error });
      // Nothing was sent: perhaps it has just ended, moved, or started its agent anew. Look again.
      if (isUnsent && tries === 0 && !response.destroyed) {
        route(exchange, place, 1).catch(() => response.destroy());
      } else refuse(exchange, unreachableAgent(place.sandboxId));
    };
    let lease: Lease | "limit" | "full";
    try {
      lease = pools.acquire(place.sandboxId, admission.route);
    } catch (error) {
      onFailure(error instanceof Error ? error : new Error(String(error)), true);
      return;
    }
    if (lease === "limit") {
      refuse(exchange, tooManyConnections(place.sandboxId, limits.requestCountMax));
      return;
    }
    if (lease === "full") {
      refuse(exchange, unavailable("The gateway serves too many sandboxes; try again", "full"));
      return;
    }
    const headers = requestHeaders(request, { ...place, launchId, maskRequestHost });
    send(exchange, place, lease, headers, onFailure);
  }

  function send(
    exchange: Exchange,
    place: Place,
    lease: Lease,
    headers: string[],
    onFailure: (error: Error, isUnsent: boolean) => void,
  ): void {
    const { request, response, upgrade } = exchange;
    const { upstream } = lease;
    (upgrade?.socket ?? response).once("close", () => lease.release());
    const shared = {
      downstream: new Downstream(request, response, place.port, counters),
      upstream,
      headers,
      counters,
      onFailure(error: Error, isUnsent: boolean) {
        if (error instanceof ConnectFailure) lease.discard();
        lease.release();
        onFailure(error, isUnsent);
      },
    };
    if (upgrade === undefined) forward({ ...shared, expectsContinue: exchange.expectsContinue });
    else splice({ ...shared, ...upgrade, upgradeMsMax: limits.upgradeMsMax });
  }

  return {
    claims(request) {
      const { method = "", url = "", rawHeaders } = request;
      return targetOf({ method, url, rawHeaders }).kind !== "api";
    },
    handle(request, response, expectsContinue = false) {
      begin({ request, response, expectsContinue, upgrade: undefined });
    },
    upgrade(request, socket, head) {
      const response = responseOver(request, socket);
      begin({ request, response, expectsContinue: false, upgrade: { socket, head } });
    },
    cut: (sandboxId) => pools.cut(sandboxId),
    async close(graceMs) {
      isClosing = true;
      if (underWay.size > 0) {
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, graceMs);
          onIdle = () => {
            clearTimeout(timer);
            resolve();
          };
        });
      }
      waker.stop();
      pools.destroy();
      for (const { request } of underWay) request.socket.destroy();
    },
    stats: counters,
  };
}

/** An answer over a connection that was taken off its HTTP server; the connection ends with it. */
function responseOver(request: IncomingMessage, socket: Duplex): ServerResponse {
  const response = new ServerResponse(request);
  response.shouldKeepAlive = false;
  // A server hands its own sockets out under their base type.
  response.assignSocket(socket as Socket);
  response.on("finish", () => request.socket.destroySoon());
  socket.on("error", () => socket.destroy());
  socket.on("drain", () => response.emit("drain"));
  return response;
}

function isPreflight(request: IncomingMessage, target: Target): boolean {
  if (request.method !== "OPTIONS" || request.headers.origin === undefined) return false;
  if (request.headers["access-control-request-method"] === undefined || hasBody(request)) {
    return false;
  }
  return target.kind === "signed" || (target.kind === "sandbox" && target.port === AGENT_PORT);
}
