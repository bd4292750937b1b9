import { answerHead, Exchange, type ExchangeHost, type Tap } from "./exchange.ts";
import { BodyDecoder, RequestBody } from "./http-body.ts";
import { findHeadEnd, HEAD_BYTES_MAX, HttpFault, parseHead, requestFraming } from "./http-head.ts";
import { Outlet, type RawSocket } from "./outlet.ts";

/** Answers one request; may go on after it returned, but must end or cut the answer at last. */
export type Handler = (exchange: Exchange) => void;

const EMPTY = Buffer.alloc(0);
/** Input kept while an answer is under way, bytes; then the client has to wait. */
const PIPELINED_BYTES_MAX = 64 * 1024;
/** How long the unread rest of a body is read and dropped after its answer, milliseconds. */
const LINGER_MS = 10_000;

/**
 * One HTTP/1.1 connection: takes requests off it one by one and writes their answers. It exists
 * beside Bun's own server because ports are forwarded as raw bytes, and because a request body
 * that is written slower than it arrives must stop the sender instead of filling the memory.
 */
export class Connection implements ExchangeHost {
  readonly outlet: Outlet;
  readonly #socket: RawSocket;
  readonly #handler: Handler;
  #input: Buffer = EMPTY;
  #exchange: Exchange | undefined;
  #decoder: BodyDecoder | undefined;
  #tap: Tap | undefined;
  #isAnswered = false;
  #isReusable = true;
  #isPaused = false;
  #isBusy = false;
  #linger: ReturnType<typeof setTimeout> | undefined;

  constructor(socket: RawSocket, handler: Handler) {
    this.#socket = socket;
    this.#handler = handler;
    this.outlet = new Outlet(socket);
  }

  /** To be called with received bytes. */
  receive(bytes: Buffer): void {
    if (this.#tap !== undefined) {
      this.#tap.data(bytes);
      return;
    }
    this.#input = this.#input.length === 0 ? bytes : Buffer.concat([this.#input, bytes]);
    this.#advance();
  }

  /** To be called when the kernel can take more. */
  drain(): void {
    this.outlet.flush();
    if (!this.outlet.isBehind) this.#tap?.drain();
  }

  /** To be called when the socket is gone. */
  close(): void {
    clearTimeout(this.#linger);
    this.outlet.close();
    this.#exchange?.body.break();
    this.#exchange?.close();
    this.#tap?.close();
  }

  answered(isReusable: boolean): void {
    this.#isAnswered = true;
    this.#isReusable = isReusable;
    if (this.#decoder?.done === false) {
      this.#exchange?.body.discard();
      this.#linger = setTimeout(() => this.cut(), LINGER_MS);
    }
    this.#advance();
  }

  detach(tap: Tap): Buffer {
    this.#tap = tap;
    const rest = this.#input;
    this.#input = EMPTY;
    return rest;
  }

  cut(): void {
    if (!this.outlet.closed) this.#socket.terminate();
  }

  /** Stops or resumes reading. */
  pause(paused: boolean): void {
    if (paused === this.#isPaused || this.outlet.closed) return;
    this.#isPaused = paused;
    if (paused) this.#socket.pause();
    else this.#socket.resume();
  }

  /** Takes requests off the input for as long as there is something to take. */
  #advance(): void {
    if (this.#isBusy) return;
    this.#isBusy = true;
    try {
      while (this.#tap === undefined && !this.outlet.closed && this.#step());
    } catch (error) {
      this.#refuse(error);
    } finally {
      this.#isBusy = false;
    }
  }

  /** Returns false when nothing can happen before more bytes or an answer. */
  #step(): boolean {
    if (this.#decoder === undefined) return this.#begin();
    if (!this.#decoder.done) {
      const { data, rest } = this.#decoder.push(this.#input);
      this.#input = rest;
      for (const piece of data) this.#exchange?.body.add(piece);
      if (!this.#decoder.done) return false;
      this.#exchange?.body.end();
    }
    if (!this.#isAnswered) {
      if (this.#input.length > PIPELINED_BYTES_MAX) this.pause(true);
      return false;
    }
    return this.#turn();
  }

  /** Ends one exchange and makes room for the next. */
  #turn(): boolean {
    clearTimeout(this.#linger);
    this.#exchange = undefined;
    this.#decoder = undefined;
    this.#isAnswered = false;
    this.pause(false);
    if (this.#isReusable) return true;
    this.outlet.end();
    return false;
  }

  /** Starts an exchange when a whole head is there. */
  #begin(): boolean {
    const end = findHeadEnd(this.#input);
    if (end < 0 ? this.#input.length > HEAD_BYTES_MAX : end > HEAD_BYTES_MAX) {
      throw new HttpFault(431, `the request head is longer than ${HEAD_BYTES_MAX} bytes`);
    }
    if (end < 0) return false;
    const head = parseHead(this.#input.toString("latin1", 0, end));
    const decoder = new BodyDecoder(requestFraming(head));
    this.#input = this.#input.subarray(end);
    const body = new RequestBody((paused) => this.pause(paused));
    const exchange = new Exchange(head, body, this);
    if (decoder.done) body.end();
    else if (exchange.field("expect")?.toLowerCase() === "100-continue") {
      body.onWait = () => this.outlet.write(Buffer.from("HTTP/1.1 100 Continue\r\n\r\n"));
    }
    this.#exchange = exchange;
    this.#decoder = decoder;
    this.#handler(exchange);
    return true;
  }

  /** Answers a request that is not HTTP and closes. */
  #refuse(error: unknown): void {
    const fault = error instanceof HttpFault ? error : new HttpFault(500, String(error));
    const isBegun = this.#exchange?.isAnswered === true;
    this.#exchange?.body.break();
    this.#exchange?.close();
    if (isBegun) {
      this.cut();
      return;
    }
    const body = JSON.stringify({ code: fault.status, message: fault.message });
    const fields = {
      "content-type": "application/json",
      "content-length": String(Buffer.byteLength(body)),
      connection: "close",
    };
    this.outlet.write(Buffer.from(answerHead(fault.status, fields) + body));
    this.outlet.end();
  }
}
