import type { Exchange } from "./exchange.ts";
import { type Message, parseMessage } from "./message.ts";
import { RPC_CODES, RpcError, toRpcError } from "./rpc-error.ts";

/** Longest message that is accepted, bytes. */
export const MESSAGE_BYTES_MAX = 64 * 1024 * 1024;

const FLAG_MESSAGE = 0;
const FLAG_END = 2;
const PREFIX_BYTES = 5;
/** Source: the keepalive default of E2B's agent, envd 0.6.13. */
const KEEPALIVE_DEFAULT_MS = 90_000;

/** Frames one message. */
export function frame(value: unknown, flag = FLAG_MESSAGE): Buffer {
  const json = JSON.stringify(value);
  const bytes = Buffer.allocUnsafe(PREFIX_BYTES + Buffer.byteLength(json));
  bytes[0] = flag;
  bytes.writeUInt32BE(bytes.length - PREFIX_BYTES, 1);
  bytes.write(json, PREFIX_BYTES);
  return bytes;
}

/** Answers a unary call with what `run` returns, or with the error it throws. */
export async function answerUnary(
  exchange: Exchange,
  run: (message: Message) => unknown,
): Promise<void> {
  try {
    const type = mediaType(exchange);
    if (type !== "application/json") return refuseType(exchange, "application/json");
    refuseCompression(exchange, "content-encoding");
    const bytes = await exchange.body.readAll(MESSAGE_BYTES_MAX);
    if (bytes === undefined) throw tooLong("message", "more than");
    exchange.json(200, await run(parseMessage(bytes.toString())));
  } catch (error) {
    const { code, message } = toRpcError(error, exchange.path);
    exchange.json(RPC_CODES[code], { code, message });
  }
}

/**
 * Answers a server-streaming call. The stream ends cleanly when `run` returns and with an error
 * frame when it throws; the HTTP status is 200 in any case, as Connect demands.
 */
export async function answerStream(
  exchange: Exchange,
  run: (message: Message, stream: EventStream) => Promise<void>,
): Promise<void> {
  if (mediaType(exchange) !== "application/connect+json") {
    return refuseType(exchange, "application/connect+json");
  }
  exchange.open(200, { "content-type": "application/connect+json" });
  const stream = new EventStream(exchange);
  try {
    refuseCompression(exchange, "connect-content-encoding");
    const message = await readFrame(exchange);
    await run(message, stream);
    stream.end();
  } catch (error) {
    const { code, message } = toRpcError(error, exchange.path);
    stream.end({ code, message });
  }
}

/** The answer of a streaming call. */
export class EventStream {
  readonly #exchange: Exchange;
  #keepalive: ReturnType<typeof setTimeout> | undefined;

  constructor(exchange: Exchange) {
    this.#exchange = exchange;
  }

  /** True once the client is gone. */
  get isClosed(): boolean {
    return this.#exchange.isClosed;
  }

  /** Calls back when the client is gone. */
  onClose(callback: () => void): void {
    this.#exchange.onClose(callback);
  }

  /** Sends a frame made by {@link frame}; the promise, if any, settles when the next may follow. */
  send(bytes: Uint8Array): Promise<void> | undefined {
    this.#keepalive?.refresh();
    return this.#exchange.write(bytes);
  }

  /**
   * Sends `message` after every silence as long as the client's `Keepalive-Ping-Interval` says
   * (seconds, default 90).
   */
  keepAlive(message: unknown): void {
    const seconds = Number(this.#exchange.field("keepalive-ping-interval"));
    const ms = seconds > 0 ? Math.min(seconds * 1000, 2 ** 31 - 1) : KEEPALIVE_DEFAULT_MS;
    const bytes = frame(message);
    // A client that does not even take what was sent needs no sign of life on top of it.
    const ping = () => void (this.#exchange.outlet.isBehind || this.#exchange.write(bytes));
    this.#keepalive = setInterval(ping, ms);
    this.onClose(() => clearInterval(this.#keepalive));
  }

  /** Sends the frame that ends the stream. */
  end(error?: { readonly code: string; readonly message: string }): void {
    clearInterval(this.#keepalive);
    this.#exchange.write(frame(error === undefined ? {} : { error }, FLAG_END));
    this.#exchange.end();
  }
}

/**
 * Limit that the client set on a whole call, milliseconds; undefined for none.
 *
 * @throws RpcError invalid_argument when the header is no number.
 */
export function timeoutMs(exchange: Exchange): number | undefined {
  const value = exchange.field("connect-timeout-ms");
  if (value === undefined) return undefined;
  if (!/^\d{1,15}$/.test(value)) {
    throw new RpcError("invalid_argument", `connect-timeout-ms: ${JSON.stringify(value)}`);
  }
  return Number(value) === 0 ? undefined : Number(value);
}

/** Reads the one request message of a server-streaming call. */
async function readFrame(exchange: Exchange): Promise<Message> {
  let bytes: Buffer = Buffer.alloc(0);
  const pieces: Uint8Array[] = [];
  let received = 0;
  let wanted = PREFIX_BYTES;
  while (received < wanted) {
    const piece = await exchange.body.read();
    if (piece === undefined) {
      throw new RpcError(
        "invalid_argument",
        `the request ended after ${received} of ${wanted} bytes of its message`,
      );
    }
    pieces.push(piece);
    received += piece.length;
    if (received < PREFIX_BYTES || wanted > PREFIX_BYTES) continue;
    bytes = Buffer.concat(pieces);
    wanted = PREFIX_BYTES + bytes.readUInt32BE(1);
    if (wanted - PREFIX_BYTES > MESSAGE_BYTES_MAX) throw tooLong("frame", wanted - PREFIX_BYTES);
    if (bytes[0] !== FLAG_MESSAGE) {
      throw new RpcError("invalid_argument", `frame with flags ${bytes[0]}, expected 0`);
    }
  }
  bytes = Buffer.concat(pieces);
  return parseMessage(bytes.toString("utf8", PREFIX_BYTES, wanted));
}

function tooLong(what: string, bytes: number | string): RpcError {
  return new RpcError(
    "resource_exhausted",
    `a ${what} of ${bytes} bytes; at most ${MESSAGE_BYTES_MAX} are accepted`,
  );
}

function mediaType(exchange: Exchange): string {
  return (exchange.field("content-type") ?? "").split(";")[0]?.trim().toLowerCase() ?? "";
}

function refuseType(exchange: Exchange, wanted: string): void {
  const given = JSON.stringify(exchange.field("content-type") ?? "");
  exchange.answer(415, { "accept-post": wanted }, `content-type ${given} is not ${wanted}\n`);
}

function refuseCompression(exchange: Exchange, field: string): void {
  const coding = exchange.field(field) ?? "identity";
  if (coding.toLowerCase() === "identity") return;
  throw new RpcError("unimplemented", `${field} ${JSON.stringify(coding)} is not supported`);
}
