import type { IncomingMessage, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import { AGENT_PORT } from "@soulbox/protocol";
import { discardBody } from "./answers.ts";
import { pairsOf, responseHeaders } from "./headers.ts";
import type { Lease } from "./pools.ts";
import type { Counters } from "./stats.ts";

/** The upstream side of an answer, as the client's side steers it. */
export interface Source {
  /** Stops delivering data until `resume`. */
  pause(): void;
  resume(): void;
  /** Gives the request up; the agent sees its connection closed. */
  abort(): void;
}

/** A connection that its HTTP server has given up to an upgrade. */
export interface UpgradeSocket {
  readonly socket: Duplex;
  /** What the client sent after its head, before any answer. */
  readonly head: Buffer;
}

/** How an exchange comes in. */
export interface ExchangeOptions {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** True when the client waits for a `100 Continue`. */
  readonly expectsContinue: boolean;
  /** Present for an upgrade. */
  readonly upgrade: UpgradeSocket | undefined;
  readonly counters: Counters;
  /** Called once, when the client's side is over: answered, gone, or its upgrade closed. */
  readonly onEnd: (exchange: Exchange) => void;
}

/** How long a client that is cut may take to read what was already sent, milliseconds. */
const CUT_MS_MAX = 5_000;
/** An answer that came whole in one turn and is no larger leaves as one string, one write. */
const ONE_WRITE_BYTES_MAX = 8 * 1024;

/** One request or upgrade, seen from its client: pours the agent's answer into the response. */
export class Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly expectsContinue: boolean;
  readonly upgrade: UpgradeSocket | undefined;
  readonly counters: Counters;
  /** Port in the sandbox; decides who adds CORS headers. */
  port = AGENT_PORT;
  /** The place that the exchange takes at its sandbox; given back at its end. */
  lease: Lease | undefined;
  #source: Source | undefined;
  #hasClient = true;
  #isPaused = false;
  /** Data of the turn in which the head arrived: leaves with it, in one packet. */
  #held: Buffer | undefined;
  #isHolding = false;
  #hasLength = false;

  constructor(options: ExchangeOptions) {
    const { request, response, upgrade, onEnd } = options;
    this.request = request;
    this.response = response;
    this.expectsContinue = options.expectsContinue;
    this.upgrade = upgrade;
    this.counters = options.counters;
    const owner = upgrade?.socket ?? response;
    owner.on("close", () => {
      this.#hasClient = false;
      if (!response.writableFinished) this.#source?.abort();
      this.lease?.release();
      onEnd(this);
    });
    response.on("error", ignore);
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

  /** Leaves the client's connection to others: its upgrade has come about. */
  detach(): void {
    this.#source = undefined;
    const { socket } = this.response;
    if (socket !== null) this.response.detachSocket(socket);
  }

  /** Passes on an interim answer that Node can send; drops the others. */
  inform(status: number, headers: Readonly<Record<string, string | string[] | undefined>>): void {
    if (!this.hasClient || this.hasStarted) return;
    const { link } = headers;
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
    const { headers, hasLength } = responseHeaders(raw, this.request, this.port);
    response.writeHead(status, message, headers);
    this.#hasLength = hasLength;
    this.#isHolding = true;
    queueMicrotask(() => this.#letGo());
  }

  /** Sends data, and pauses the source when the client can't take more. */
  write(chunk: Buffer): void {
    this.counters.bytesDown += chunk.length;
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
    else if (held.length > ONE_WRITE_BYTES_MAX) response.end(held);
    else response.end(held.toString("latin1"), "latin1");
    // The agent may answer before it has read the whole request.
    if (!this.request.complete) discardBody(this.request);
  }

  /** Breaks the answer off so that its client can't take it for complete. */
  cut(): void {
    this.#letGo();
    const { socket, chunkedEncoding } = this.response;
    if (socket === null) {
      this.response.destroy();
      return;
    }
    if (!chunkedEncoding && !this.#hasLength && "resetAndDestroy" in socket) {
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
    if (!this.hasClient || this.response.write(chunk) || this.#isPaused) return;
    this.#isPaused = true;
    this.#source?.pause();
    this.response.once("drain", () => {
      this.#isPaused = false;
      this.#source?.resume();
    });
  }
}

function ignore(): void {}
