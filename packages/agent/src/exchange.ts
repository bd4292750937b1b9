import type { RequestBody } from "./http-body.ts";
import { fieldValue, type Head } from "./http-head.ts";
import type { Outlet } from "./outlet.ts";

const REASONS: Readonly<Record<number, string>> = {
  200: "OK",
  204: "No Content",
  206: "Partial Content",
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  406: "Not Acceptable",
  409: "Conflict",
  413: "Content Too Large",
  415: "Unsupported Media Type",
  416: "Range Not Satisfiable",
  429: "Too Many Requests",
  431: "Request Header Fields Too Large",
  499: "Client Closed Request",
  500: "Internal Server Error",
  501: "Not Implemented",
  502: "Bad Gateway",
  503: "Service Unavailable",
  504: "Gateway Timeout",
  507: "Insufficient Storage",
};

/** First bytes of an answer, status line to blank line. */
export function answerHead(status: number, fields: Readonly<Record<string, string>>): string {
  let text = `HTTP/1.1 ${status} ${REASONS[status] ?? "Unknown"}\r\n`;
  for (const [name, value] of Object.entries(fields)) text += `${name}: ${value}\r\n`;
  return `${text}\r\n`;
}

/** What an exchange needs from the connection it came on. */
export interface ExchangeHost {
  readonly outlet: Outlet;
  /** Called when the answer is complete. */
  answered(isReusable: boolean): void;
  /** Hands the raw connection over; returns the bytes after the request head. */
  detach(tap: Tap): Buffer;
  /** Stops or resumes reading from the connection. */
  pause(paused: boolean): void;
  /** Cuts the connection. */
  cut(): void;
}

/** Receiver of a connection's raw bytes after {@link Exchange.detach}. */
export interface Tap {
  data(bytes: Buffer): void;
  /** The kernel took everything that was written. */
  drain(): void;
  close(): void;
}

/** One request and its answer. */
export class Exchange {
  readonly head: Head;
  readonly body: RequestBody;
  readonly #host: ExchangeHost;
  readonly #path: string;
  readonly #query: string;
  #parameters: URLSearchParams | undefined;
  #closers: (() => void)[] = [];
  #phase: "idle" | "open" | "done" = "idle";
  #chunked = false;
  #bodyless = false;
  #reusable = true;
  /** True once the client is gone. */
  isClosed = false;
  /** Fields that every answer gets, beside those given with it. */
  extraFields: Readonly<Record<string, string>> = {};

  constructor(head: Head, body: RequestBody, host: ExchangeHost) {
    this.head = head;
    this.body = body;
    this.#host = host;
    const mark = head.target.indexOf("?");
    this.#path = mark < 0 ? head.target : head.target.slice(0, mark);
    this.#query = mark < 0 ? "" : head.target.slice(mark + 1);
    const connection = (this.field("connection") ?? "").toLowerCase();
    if (head.version === "1.0" || connection.includes("close")) this.#reusable = false;
  }

  /** Path of the target, percent-encoded. */
  get path(): string {
    return this.#path;
  }

  /** Decoded query. */
  get parameters(): URLSearchParams {
    this.#parameters ??= new URLSearchParams(this.#query);
    return this.#parameters;
  }

  /** True once an answer was begun. */
  get isAnswered(): boolean {
    return this.#phase !== "idle";
  }

  /** Value of a request header; its name in lower case. */
  field(name: string): string | undefined {
    return fieldValue(this.head.fields, name);
  }

  /** Calls back when the client is gone, or at once when it already is. */
  onClose(callback: () => void): void {
    if (this.isClosed) callback();
    else this.#closers.push(callback);
  }

  /** Answers whole. */
  answer(status: number, fields: Readonly<Record<string, string>>, body = ""): void {
    if (this.#phase !== "idle") return;
    this.#phase = "done";
    const length: Record<string, string> =
      status === 204 ? {} : { "content-length": String(Buffer.byteLength(body)) };
    const head = answerHead(status, this.#fields({ ...fields, ...length }));
    this.#host.outlet.write(Buffer.from(this.head.method === "HEAD" ? head : head + body));
    this.#finish();
  }

  /** Answers with JSON. */
  json(status: number, value: unknown): void {
    this.answer(status, { "content-type": "application/json" }, JSON.stringify(value));
  }

  /** Answers with E2B's error body. */
  fail(status: number, message: string): void {
    this.json(status, { code: status, message });
  }

  /**
   * Begins an answer whose body follows by {@link Exchange.write} and {@link Exchange.end}. Without
   * a `content-length` the body is chunked (or, for HTTP/1.0, ends with the connection).
   */
  open(status: number, fields: Readonly<Record<string, string>>): void {
    if (this.#phase !== "idle") return;
    this.#phase = "open";
    this.#bodyless = this.head.method === "HEAD";
    const isSized = "content-length" in fields;
    this.#chunked = !isSized && this.head.version === "1.1";
    const framing: Record<string, string> = this.#chunked ? { "transfer-encoding": "chunked" } : {};
    const head = answerHead(status, this.#fields({ ...fields, ...framing }));
    this.#host.outlet.write(Buffer.from(head));
  }

  /** Writes body bytes; the promise, if any, settles when the next may follow. */
  write(bytes: Uint8Array): Promise<void> | undefined {
    if (this.#phase !== "open" || this.#bodyless || bytes.length === 0) return undefined;
    if (!this.#chunked) return this.#host.outlet.write(bytes);
    const size = `${bytes.length.toString(16)}\r\n`;
    const framed = Buffer.allocUnsafe(size.length + bytes.length + 2);
    framed.write(size, 0, "latin1");
    framed.set(bytes, size.length);
    framed.write("\r\n", size.length + bytes.length, "latin1");
    return this.#host.outlet.write(framed);
  }

  /** Completes an answer begun with {@link Exchange.open}. */
  end(): void {
    if (this.#phase !== "open") return;
    this.#phase = "done";
    if (this.#chunked && !this.#bodyless) this.#host.outlet.write(Buffer.from("0\r\n\r\n"));
    this.#finish();
  }

  /** Cuts the connection, so that the client can't take a partial answer for a whole one. */
  cut(): void {
    this.#host.cut();
  }

  /** Hands the raw connection over; returns the bytes that followed the request head. */
  detach(tap: Tap): Buffer {
    this.#phase = "done";
    return this.#host.detach(tap);
  }

  /** Stops or resumes the client's bytes after {@link Exchange.detach}. */
  pause(paused: boolean): void {
    this.#host.pause(paused);
  }

  /** Where raw bytes go after {@link Exchange.detach}. */
  get outlet(): Outlet {
    return this.#host.outlet;
  }

  /** To be called when the connection is gone. */
  close(): void {
    this.isClosed = true;
    const closers = this.#closers;
    this.#closers = [];
    for (const callback of closers) callback();
  }

  #fields(fields: Readonly<Record<string, string>>): Record<string, string> {
    const all: Record<string, string> = { ...this.extraFields, ...fields };
    if (!this.#reusable) all.connection = "close";
    return all;
  }

  #finish(): void {
    this.#closers = [];
    this.#host.answered(this.#reusable);
  }
}
