import type { IncomingMessage, ServerResponse } from "node:http";
import { discardBody } from "./answers.ts";
import { pairsOf, responseHeaders } from "./headers.ts";
import type { Counters } from "./stats.ts";

/** The upstream side of an answer, as the client's side steers it. */
export interface Source {
  /** Stops delivering data until `resume`. */
  pause(): void;
  resume(): void;
  /** Gives the request up; the agent sees its connection closed. */
  abort(): void;
}

/** How long a client that is cut may take to read what was already sent, milliseconds. */
const CUT_MS_MAX = 5_000;

/** The client's side of one exchange: pours the agent's answer into the response. */
export class Downstream {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly #port: number;
  readonly #counters: Counters;
  #source: Source | undefined;
  #hasClient = true;
  #isPaused = false;
  /** Data of the turn in which the head arrived: leaves with it, in one packet. */
  #held: Buffer | undefined;
  #isHolding = false;
  #hasLength = false;

  /** @param port Port in the sandbox, which decides who adds CORS headers. */
  constructor(
    request: IncomingMessage,
    response: ServerResponse,
    port: number,
    counters: Counters,
  ) {
    this.request = request;
    this.response = response;
    this.#port = port;
    this.#counters = counters;
    response.on("close", () => {
      this.#hasClient = false;
      if (!response.writableFinished) this.#source?.abort();
    });
    response.on("drain", () => {
      if (!this.#isPaused) return;
      this.#isPaused = false;
      this.#source?.resume();
    });
    response.on("error", () => undefined);
  }

  /** True from the first byte of the answer on: from then on only a cut can tell of a failure. */
  get hasStarted(): boolean {
    return this.response.headersSent;
  }

  /** True until the client's connection is gone. */
  get hasClient(): boolean {
    return this.#hasClient && !this.response.destroyed;
  }

  /** Names who is to be paused and aborted; aborts at once when the client is gone already. */
  attach(source: Source): void {
    this.#source = source;
    if (!this.hasClient) source.abort();
  }

  /** Leaves the client's connection to others: an upgrade has taken it. */
  detach(): void {
    this.#source = undefined;
    const { socket } = this.response;
    if (socket !== null) this.response.detachSocket(socket);
  }

  /** Passes on an interim answer that Node can send; drops the others. */
  inform(status: number, headers: Readonly<Record<string, string | string[] | undefined>>): void {
    if (!this.hasClient || this.hasStarted) return;
    const link = headers.link;
    if (status === 102) this.response.writeProcessing();
    else if (status === 103 && link !== undefined) {
      try {
        this.response.writeEarlyHints({ link });
      } catch {
        // A hint that Node finds malformed is only a hint.
      }
    }
  }

  /**
   * Sends the head.
   *
   * @throws Error when the upstream's head can't be sent: forbidden characters.
   */
  start(status: number, message: string, raw: readonly (string | Buffer)[]): void {
    const { response } = this;
    if (!this.hasClient) return;
    response.sendDate = false;
    const headers = responseHeaders(raw, this.request, this.#port);
    this.#hasLength = headers.some((part, i) => i % 2 === 0 && /^content-length$/i.test(part));
    response.writeHead(status, message, headers);
    this.#isHolding = true;
    queueMicrotask(() => this.#letGo());
  }

  /** Sends data, and pauses the source when the client can't take more. */
  write(chunk: Buffer): void {
    this.#counters.bytesDown += chunk.length;
    if (this.#isHolding && this.#held === undefined) {
      this.#held = chunk;
      return;
    }
    if (this.#isHolding) this.#letGo();
    this.#send(chunk);
  }

  /** Ends the answer, with trailers (names and values in turn) when there are any. */
  end(trailers: readonly (string | Buffer)[]): void {
    const { response } = this;
    const held = this.#held;
    this.#isHolding = false;
    this.#held = undefined;
    if (!this.hasClient) return;
    if (trailers.length > 0) {
      try {
        response.addTrailers(pairsOf(trailers));
      } catch {
        this.cut();
        return;
      }
    }
    if (held === undefined) response.end();
    else response.end(held);
    // The agent may answer before it has read the whole request.
    discardBody(this.request);
  }

  /** Breaks the answer off so that its client can't take it for complete. */
  cut(): void {
    if (this.#isHolding) this.#letGo();
    const socket = this.response.socket;
    if (socket === null || socket === undefined) {
      this.response.destroy();
      return;
    }
    if (!this.response.chunkedEncoding && !this.#hasLength && "resetAndDestroy" in socket) {
      // Neither chunks nor a length betray the missing end: only a reset does.
      socket.resetAndDestroy();
      return;
    }
    // What has been received goes out first; then the connection ends without the last chunk.
    socket.destroySoon();
    const timer = setTimeout(() => socket.destroy(), CUT_MS_MAX);
    timer.unref();
    socket.once("close", () => clearTimeout(timer));
  }

  #letGo(): void {
    if (!this.#isHolding) return;
    this.#isHolding = false;
    const held = this.#held;
    this.#held = undefined;
    if (!this.hasClient) return;
    if (held === undefined) this.response.flushHeaders();
    else this.#send(held);
  }

  #send(chunk: Buffer): void {
    if (!this.hasClient) return;
    if (!this.response.write(chunk)) {
      this.#isPaused = true;
      this.#source?.pause();
    }
  }
}
