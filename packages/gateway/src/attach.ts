import { type IncomingMessage, type Server, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { Gateway } from "./gateway.ts";

/** What serves the requests that are for no sandbox. */
export interface Fallback {
  /** Takes a request. */
  request(request: IncomingMessage, response: ServerResponse): void;
  /** Takes an upgrade; by default the connection is closed with 404. */
  upgrade?(request: IncomingMessage, socket: Duplex, head: Buffer): void;
}

const STATUS_OF: Readonly<Record<string, readonly [number, string, string]>> = {
  HPE_HEADER_OVERFLOW: [431, "Request Header Fields Too Large", "The headers are too large"],
  ERR_HTTP_REQUEST_TIMEOUT: [408, "Request Timeout", "The request did not arrive in time"],
};

/** A client that vanished without a word is found gone after this, milliseconds, and ten probes. */
const KEEP_ALIVE_MS = 30_000;

/**
 * Lets a gateway and an API share one HTTP server: requests that the gateway claims go to it, the
 * others to the fallback. Takes the server's events `request`, `checkContinue`, `upgrade` and
 * `clientError`, and switches its limit on the time of a whole request off, because uploads may
 * take hours; the limit on the time of the head stays.
 */
export function attachGateway(server: Server, gateway: Gateway, fallback: Fallback): void {
  server.requestTimeout = 0;
  server.on("connection", (socket: Socket) => socket.setKeepAlive(true, KEEP_ALIVE_MS));
  server.on("request", (request, response) => {
    if (gateway.claims(request)) gateway.handle(request, response);
    else fallback.request(request, response);
  });
  server.on("checkContinue", (request: IncomingMessage, response: ServerResponse) => {
    if (gateway.claims(request)) gateway.handle(request, response, true);
    else {
      response.writeContinue();
      fallback.request(request, response);
    }
  });
  server.on("upgrade", (request, socket, head) => {
    if (gateway.claims(request)) gateway.upgrade(request, socket, head);
    else if (fallback.upgrade !== undefined) fallback.upgrade(request, socket, head);
    else socket.end(rawAnswer(404, "Not Found", "There is nothing to upgrade to"));
  });
  server.on("clientError", answerClientError);
}

/**
 * For Node's `shouldUpgradeCallback` (Node 24.9): false takes a request for what it is otherwise.
 * Some HTTP clients (Java's) offer `h2c` with every request, body or not, and mean it as an offer.
 */
export function shouldUpgrade(request: IncomingMessage): boolean {
  const { headers } = request;
  if (headers["transfer-encoding"] !== undefined) return false;
  if (headers["content-length"] !== undefined && headers["content-length"] !== "0") return false;
  return headers.upgrade?.toLowerCase() !== "h2c";
}

/** Answers what Node's parser refuses (both lengths, folded headers, NUL, and more) with JSON. */
function answerClientError(error: Error, socket: Duplex): void {
  const code = "code" in error ? String(error.code) : "";
  if (!socket.writable || code === "ECONNRESET" || isAnswering(socket)) {
    socket.destroy();
    return;
  }
  const [status, title, message] = STATUS_OF[code] ?? [
    400,
    "Bad Request",
    "The request is not well-formed HTTP/1.1",
  ];
  socket.end(rawAnswer(status, title, message), () => socket.destroy());
}

/** True while an answer is under way: a second one in the midst of it would be taken for its data. */
function isAnswering(socket: Duplex): boolean {
  if (!("_httpMessage" in socket)) return false;
  const message = socket._httpMessage;
  return message instanceof ServerResponse && message.headersSent;
}

function rawAnswer(status: number, title: string, message: string): string {
  const body = JSON.stringify({ message, code: status });
  return (
    `HTTP/1.1 ${status} ${title}\r\nconnection: close\r\ncontent-type: application/json\r\n` +
    `content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`
  );
}
