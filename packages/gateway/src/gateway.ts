import { type IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { unavailable } from "./answers.ts";
import { Exchange, type UpgradeSocket } from "./exchange.ts";
import { createPools } from "./pools.ts";
import { GATEWAY_LIMITS, type GatewayLimits, type GatewayPorts } from "./ports.ts";
import { type Desk, refuse, serve } from "./serve.ts";
import { createSignatureIndex } from "./signature.ts";
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

/** Makes a gateway. It holds no state but connections. */
export function createGateway(ports: GatewayPorts): Gateway {
  const limits: GatewayLimits = { ...GATEWAY_LIMITS, ...ports.limits };
  const counters = createCounters();
  const desk: Desk = {
    ports,
    limits,
    pools: createPools(limits, () => performance.now()),
    signatures: createSignatureIndex(() => ports.owners(), { triesMax: limits.ownerCountMax }),
    waker: createWaker(
      (sandboxId, signal) => ports.wake(sandboxId, signal),
      limits.wakeMsMax,
      () => {
        counters.wakes += 1;
      },
    ),
  };
  const underWay = new Set<Exchange>();
  let isClosing = false;
  let onIdle: (() => void) | undefined;
  let seen: { readonly request: IncomingMessage; readonly target: Target } | undefined;

  /** `claims` and `handle` follow each other for the same request: it is read once. */
  function read(request: IncomingMessage): Target {
    if (seen?.request === request) return seen.target;
    const { method = "", url = "", rawHeaders } = request;
    const target = targetOf({ method, url, rawHeaders });
    seen = { request, target };
    return target;
  }

  function onEnd(exchange: Exchange): void {
    counters.active -= 1;
    underWay.delete(exchange);
    if (underWay.size === 0) onIdle?.();
  }

  function begin(
    request: IncomingMessage,
    response: ServerResponse,
    expectsContinue: boolean,
    upgrade: UpgradeSocket | undefined,
  ): void {
    const target = read(request);
    seen = undefined;
    counters.requests += 1;
    counters.active += 1;
    const exchange = new Exchange({
      request,
      response,
      expectsContinue,
      upgrade,
      counters,
      onEnd,
    });
    underWay.add(exchange);
    if (isClosing) {
      response.shouldKeepAlive = false;
      refuse(exchange, unavailable("The gateway is stopping; try again", "closing"));
    } else serve(desk, exchange, target);
  }

  return {
    claims: (request) => read(request).kind !== "api",
    handle(request, response, expectsContinue = false) {
      begin(request, response, expectsContinue, undefined);
    },
    upgrade(request, socket, head) {
      begin(request, responseOver(request, socket), false, { socket, head });
    },
    cut: (sandboxId) => desk.pools.cut(sandboxId),
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
      desk.waker.stop();
      desk.pools.destroy();
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
