import { type IncomingMessage, request as openRequest } from "node:http";
import type { Dispatcher } from "undici";
import { ConnectFailure } from "./connect.ts";
import type { Downstream } from "./downstream.ts";
import { hasBody, pairsOf } from "./headers.ts";
import type { Upstream } from "./pools.ts";
import type { Counters } from "./stats.ts";

/** One request on its way to an agent. */
export interface Forward {
  readonly downstream: Downstream;
  readonly upstream: Upstream;
  /** Headers for the agent, without framing. */
  readonly headers: string[];
  readonly counters: Counters;
  /** True when the client waits for a `100 Continue`. */
  readonly expectsContinue: boolean;
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
  if (hasBody(to.downstream.request)) sendWithBody(to);
  else sendWithoutBody(to);
}

function sendWithoutBody(to: Forward): void {
  const { request } = to.downstream;
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
class Relay implements Dispatcher.DispatchHandler {
  readonly #to: Forward;

  constructor(to: Forward) {
    this.#to = to;
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#to.downstream.attach({
      pause: () => controller.pause(),
      resume: () => controller.resume(),
      abort: () => controller.abort(new Error("The client is gone")),
    });
  }

  onResponseStart(
    controller: Dispatcher.DispatchController,
    status: number,
    headers: Readonly<Record<string, string | string[] | undefined>>,
    message?: string,
  ): void {
    if (status < 200) {
      this.#to.downstream.inform(status, headers);
      return;
    }
    const raw = controller.rawHeaders;
    this.#to.downstream.start(status, message ?? "", Array.isArray(raw) ? raw : flatten(headers));
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#to.downstream.write(chunk);
  }

  onResponseEnd(
    controller: Dispatcher.DispatchController,
    trailers: Readonly<Record<string, string | string[] | undefined>>,
  ): void {
    const raw = controller.rawTrailers;
    this.#to.downstream.end(Array.isArray(raw) ? raw : flatten(trailers));
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    fail(this.#to, error, error instanceof ConnectFailure);
  }
}

function sendWithBody(to: Forward): void {
  const { downstream, headers, counters } = to;
  const { request } = downstream;
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
  downstream.attach({
    pause: () => answer?.pause(),
    resume: () => answer?.resume(),
    abort: () => sent.destroy(),
  });

  // The socket is connected by then; not one byte of the body has been taken before, so that a
  // connection that fails can be replaced by another.
  sent.on("socket", () => {
    isUnsent = false;
    sent.flushHeaders();
    if (to.expectsContinue && downstream.hasClient) downstream.response.writeContinue();
    pump(request, sent, counters);
  });
  sent.on("information", ({ statusCode, headers: fields }) => {
    downstream.inform(statusCode, fields);
  });
  sent.on("response", (message) => {
    answer = message;
    try {
      downstream.start(message.statusCode ?? 502, message.statusMessage ?? "", message.rawHeaders);
    } catch (error) {
      sent.destroy(asError(error));
      return;
    }
    message.on("data", (chunk: Buffer) => downstream.write(chunk));
    message.on("end", () => {
      downstream.end(message.rawTrailers);
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
  counters: Counters,
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
  if (!to.downstream.hasStarted) {
    to.onFailure(error, isUnsent);
  } else if (to.downstream.hasClient) {
    to.counters.cuts += 1;
    to.downstream.cut();
  }
}

function flatten(headers: Readonly<Record<string, string | string[] | undefined>>): string[] {
  return Object.entries(headers).flatMap(([name, value]) =>
    (Array.isArray(value) ? value : [value ?? ""]).flatMap((one) => [name, one]),
  );
}

function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}
