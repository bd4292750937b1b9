import { type IncomingMessage, request as openRequest } from "node:http";
import type { Dispatcher } from "undici";
import { ConnectFailure } from "./connect.ts";
import type { Exchange, Source } from "./exchange.ts";
import { hasBody, pairsOf } from "./headers.ts";
import type { Upstream } from "./pools.ts";

/** One request on its way to an agent. */
export interface Forward {
  readonly exchange: Exchange;
  readonly upstream: Upstream;
  /** Headers for the agent, without framing. */
  readonly headers: string[];
  /** Called once when no answer was begun. `isUnsent` means that the agent has seen no byte. */
  onFailure(error: Error, isUnsent: boolean): void;
}

/**
 * Sends a request on and its answer back, streaming both ways, nothing buffered beyond what sockets
 * hold. An answer that breaks off is cut for the client too.
 *
 * Requests without a body go through undici's `dispatch` (twice the speed of `node:http`). Those
 * with one go through `node:http`: it sends the head before the first byte of the body, keeps
 * trailers, and moves large bodies faster.
 */
export function forward(to: Forward): void {
  if (hasBody(to.exchange.request)) sendWithBody(to);
  else sendWithoutBody(to);
}

const CLIENT_GONE = new Error("The client is gone");

function sendWithoutBody(to: Forward): void {
  const { request } = to.exchange;
  try {
    to.upstream.pool.dispatch(
      { method: request.method ?? "GET", path: request.url ?? "/", headers: to.headers },
      new Relay(to),
    );
  } catch (error) {
    to.onFailure(asError(error), true);
  }
}

/** Takes undici's events for one request. */
class Relay implements Dispatcher.DispatchHandler, Source {
  readonly #to: Forward;
  #controller: Dispatcher.DispatchController | undefined;

  constructor(to: Forward) {
    this.#to = to;
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    this.#to.exchange.attach(this);
  }

  onResponseStart(
    controller: Dispatcher.DispatchController,
    status: number,
    headers: Readonly<Record<string, string | string[] | undefined>>,
    message?: string,
  ): void {
    const { exchange } = this.#to;
    if (status < 200) {
      exchange.inform(status, headers);
      return;
    }
    const raw = controller.rawHeaders;
    exchange.start(status, message ?? "", Array.isArray(raw) ? raw : flatten(headers));
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#to.exchange.write(chunk);
  }

  onResponseEnd(
    controller: Dispatcher.DispatchController,
    trailers: Readonly<Record<string, string | string[] | undefined>>,
  ): void {
    const raw = controller.rawTrailers;
    this.#to.exchange.end(Array.isArray(raw) ? raw : flatten(trailers));
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    fail(this.#to, error, error instanceof ConnectFailure);
  }

  pause(): void {
    this.#controller?.pause();
  }

  resume(): void {
    this.#controller?.resume();
  }

  abort(): void {
    this.#controller?.abort(CLIENT_GONE);
  }
}

function sendWithBody(to: Forward): void {
  const { exchange, headers } = to;
  const { request } = exchange;
  const length = request.headers["content-length"];
  if (length === undefined) headers.push("transfer-encoding", "chunked");
  else headers.push("content-length", length);
  let sent: ReturnType<typeof openRequest>;
  try {
    const { method, url: path } = request;
    sent = openRequest({ agent: to.upstream.agent, method, path, headers, setHost: false });
  } catch (error) {
    to.onFailure(asError(error), true);
    return;
  }
  let isUnsent = true;
  let answer: IncomingMessage | undefined;
  exchange.attach({
    pause: () => answer?.pause(),
    resume: () => answer?.resume(),
    abort: () => sent.destroy(),
  });

  // The socket is connected by then; not one byte of the body has been taken before, so that a
  // connection that fails can be replaced by another.
  sent.on("socket", () => {
    isUnsent = false;
    sent.flushHeaders();
    if (exchange.expectsContinue && exchange.hasClient) exchange.response.writeContinue();
    pump(request, sent, exchange.counters);
  });
  sent.on("information", ({ statusCode, headers: fields }) => {
    exchange.inform(statusCode, fields);
  });
  sent.on("response", (message) => {
    answer = message;
    try {
      exchange.start(message.statusCode ?? 502, message.statusMessage ?? "", message.rawHeaders);
    } catch (error) {
      sent.destroy(asError(error));
      return;
    }
    message.on("data", (chunk: Buffer) => exchange.write(chunk));
    message.on("end", () => {
      exchange.end(message.rawTrailers);
      // A half-sent request can't be followed by another on its connection.
      if (!sent.writableFinished) sent.destroy();
    });
    message.on("error", (error) => fail(to, error, false));
  });
  sent.on("error", (error) => {
    // An answer that is being read decides by itself whether it is whole.
    if (answer === undefined) fail(to, error, isUnsent);
  });
}

/** Moves a body up, as fast as the agent takes it. */
function pump(
  request: IncomingMessage,
  sent: ReturnType<typeof openRequest>,
  counters: { bytesUp: number },
): void {
  request.on("data", (chunk: Buffer) => {
    counters.bytesUp += chunk.length;
    if (!sent.destroyed && !sent.write(chunk)) request.pause();
  });
  sent.on("drain", () => request.resume());
  sent.on("close", () => request.resume());
  request.on("end", () => {
    if (sent.destroyed) return;
    if (request.rawTrailers.length > 0) sent.addTrailers(pairsOf(request.rawTrailers));
    sent.end();
  });
}

function fail(to: Forward, error: Error, isUnsent: boolean): void {
  const { exchange } = to;
  if (!exchange.hasClient) return;
  if (exchange.hasStarted) {
    exchange.counters.cuts += 1;
    exchange.cut();
  } else to.onFailure(error, isUnsent);
}

function flatten(headers: Readonly<Record<string, string | string[] | undefined>>): string[] {
  return Object.entries(headers).flatMap(([name, value]) =>
    (Array.isArray(value) ? value : [value ?? ""]).flatMap((one) => [name, one]),
  );
}

function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}
