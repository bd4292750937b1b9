import type { Exchange } from "./exchange.ts";
import { answerHead, type Tap } from "./exchange.ts";
import { type Field, fieldValue, findHeadEnd, HEAD_BYTES_MAX } from "./http-head.ts";
import { Outlet } from "./outlet.ts";

/** Loopback addresses that a program may listen on, in the order they are tried. */
const ADDRESSES = ["127.0.0.1", "::1"] as const;

/** A request for a port of the sandbox. */
export interface PortRequest {
  readonly port: number;
  /** For the answer when the port is closed. */
  readonly sandboxId: string;
}

/**
 * Forwards a request to a program inside the sandbox, byte for byte, and its answer back. A plain
 * request gets `connection: close` both ways, so that the next request on the client's connection
 * can't reach a port it is not meant for; an upgrade stays open as long as both sides like.
 */
export function forwardToPort(exchange: Exchange, request: PortRequest): void {
  const splice = new Splice(exchange, request);
  void splice.connect();
}

/** Head of a request as the program inside gets it. Exported for its test. */
export function forwardedHead(exchange: Pick<Exchange, "head">): string {
  const { method, target, version, fields } = exchange.head;
  const isUpgrade = fieldValue(fields, "upgrade") !== undefined;
  let text = `${method} ${target} HTTP/${version}\r\n`;
  for (const [name, value] of fields) {
    const lower = name.toLowerCase();
    const isOurs = lower.startsWith("e2b-") || lower.startsWith("soulbox-");
    if (isOurs || lower === "x-access-token") continue;
    if (!isUpgrade && (lower === "connection" || lower === "keep-alive")) continue;
    text += `${name}: ${value}\r\n`;
  }
  return `${text}${isUpgrade ? "" : "Connection: close\r\n"}\r\n`;
}

/**
 * Head of an answer as the client gets it: unchanged when it switches protocols, else closing.
 *
 * @returns undefined when these bytes are no head of a final answer, to be passed on unchanged.
 */
export function answeredHead(text: string): string | undefined {
  const status = /^HTTP\/1\.[01] (\d{3})/.exec(text)?.[1];
  if (status === undefined || status.startsWith("1")) return undefined;
  const lines = text.slice(0, -4).split("\r\n");
  const kept = lines.filter((line) => !/^(connection|keep-alive)[ \t]*:/i.test(line));
  return `${kept.join("\r\n")}\r\nConnection: close\r\n\r\n`;
}

class Splice implements Tap {
  readonly #exchange: Exchange;
  readonly #request: PortRequest;
  /** Bytes of the client that came before the program was reached. */
  #early: Buffer[] = [];
  #inner: { readonly socket: Bun.Socket; readonly outlet: Outlet } | undefined;
  #answer: Buffer | undefined = Buffer.alloc(0);
  #hasAnswered = false;

  constructor(exchange: Exchange, request: PortRequest) {
    this.#exchange = exchange;
    this.#request = request;
    const head = Buffer.from(forwardedHead(exchange), "latin1");
    this.#early.push(head, exchange.detach(this));
    exchange.pause(true);
  }

  async connect(): Promise<void> {
    for (const hostname of ADDRESSES) {
      try {
        await this.#open(hostname);
        return;
      } catch {
        // Closed on this address; a program may listen on the other alone.
      }
    }
    this.#refuse("The sandbox is running but port is not open");
  }

  async #open(hostname: string): Promise<void> {
    await Bun.connect({
      hostname,
      port: this.#request.port,
      socket: {
        open: (socket) => this.#opened(socket),
        data: (_socket, bytes) => this.#answered(bytes),
        drain: () => {
          this.#inner?.outlet.flush();
          if (this.#inner?.outlet.isBehind === false) this.#exchange.pause(false);
        },
        close: () => this.#innerClosed(),
        error: () => this.#innerClosed(),
      },
    });
  }

  #opened(socket: Bun.Socket): void {
    if (this.#exchange.outlet.closed) {
      socket.terminate();
      return;
    }
    this.#inner = { socket, outlet: new Outlet(socket) };
    const early = this.#early;
    this.#early = [];
    for (const bytes of early) this.data(bytes);
    if (!this.#inner.outlet.isBehind) this.#exchange.pause(false);
  }

  /** Bytes of the client. */
  data(bytes: Buffer): void {
    if (this.#inner === undefined) this.#early.push(bytes);
    else if (this.#inner.outlet.write(bytes) !== undefined) this.#exchange.pause(true);
  }

  /** The client took everything. */
  drain(): void {
    this.#inner?.socket.resume();
  }

  /** The client is gone. */
  close(): void {
    // A clean end: a reset is an error that careless programs don't survive.
    this.#inner?.socket.end();
  }

  /** Bytes of the program. */
  #answered(bytes: Buffer): void {
    if (this.#answer === undefined) {
      this.#pass(bytes);
      return;
    }
    let input: Buffer = this.#answer.length === 0 ? bytes : Buffer.concat([this.#answer, bytes]);
    this.#answer = Buffer.alloc(0);
    // Interim answers (100, 103) come before the final one.
    for (;;) {
      const end = findHeadEnd(input);
      if (end < 0) {
        if (input.length <= HEAD_BYTES_MAX) this.#answer = input;
        else this.#passRest(input);
        return;
      }
      const text = input.toString("latin1", 0, end);
      const head = answeredHead(text);
      if (head !== undefined) {
        this.#pass(Buffer.from(head, "latin1"));
        this.#passRest(input.subarray(end));
        return;
      }
      if (!/^HTTP\/1\.[01] 1(?!01)\d\d/.test(text)) {
        this.#passRest(input);
        return;
      }
      this.#pass(input.subarray(0, end));
      input = input.subarray(end);
    }
  }

  /** Passes on these bytes and all that follow, unread. */
  #passRest(bytes: Buffer): void {
    this.#answer = undefined;
    this.#pass(bytes);
  }

  #pass(bytes: Buffer): void {
    if (bytes.length === 0) return;
    this.#hasAnswered = true;
    if (this.#exchange.outlet.write(bytes) !== undefined) this.#inner?.socket.pause();
  }

  #innerClosed(): void {
    const inner = this.#inner;
    if (inner === undefined || inner.outlet.closed) return;
    inner.outlet.close();
    if (this.#answer !== undefined && this.#answer.length > 0) this.#passRest(this.#answer);
    if (this.#hasAnswered) {
      this.#exchange.pause(false);
      this.#exchange.outlet.end();
    } else this.#refuse("The port closed the connection without an answer");
  }

  #refuse(message: string): void {
    const { outlet } = this.#exchange;
    const { sandboxId, port } = this.#request;
    const body = JSON.stringify({ sandboxId, message, port, code: 502 });
    const fields: readonly Field[] = [
      ["content-type", "application/json"],
      ["content-length", String(Buffer.byteLength(body))],
      ["connection", "close"],
    ];
    outlet.write(Buffer.from(answerHead(502, Object.fromEntries(fields)) + body));
    this.#early = [];
    this.#exchange.pause(false);
    outlet.end();
  }
}
