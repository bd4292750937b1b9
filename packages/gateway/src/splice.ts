import { type IncomingMessage, request as openRequest } from "node:http";
import { Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { UpgradeSocket } from "./exchange.ts";
import type { Forward } from "./proxy.ts";
import type { Counters } from "./stats.ts";

/**
 * Asks the agent to upgrade, and ties the two connections together once it has said 101.
 *
 * Not one byte of the client's goes up before that: were the agent to refuse, it would read them
 * as the next request, past every check of the gateway. A refusal is passed on as an answer, and
 * the connection closed after it.
 *
 * @param to.headers Without `connection` and `upgrade`.
 * @param upgradeMsMax How long the agent may think about it, milliseconds.
 */
export function splice(to: Forward, { socket, head }: UpgradeSocket, upgradeMsMax: number): void {
  const { exchange } = to;
  const { request, counters } = exchange;
  let isUnsent = true;
  let sent: ReturnType<typeof openRequest>;
  try {
    sent = openRequest({
      createConnection: (_options, callback) => {
        to.upstream.connector.open((error, opened) => {
          isUnsent = opened === null;
          // Node's own callback takes an error alone; its type does not say so.
          if (opened === null) (callback as (error: Error | null) => void)(error);
          else callback(null, opened);
        });
        return undefined;
      },
      method: request.method,
      path: request.url,
      headers: [...to.headers, "connection", "upgrade", "upgrade", request.headers.upgrade ?? ""],
      setHost: false,
    });
  } catch (error) {
    to.onFailure(error instanceof Error ? error : new Error(String(error)), true);
    return;
  }
  let answer: IncomingMessage | undefined;
  const timer = setTimeout(() => sent.destroy(new Error("timeout")), upgradeMsMax);
  exchange.attach({
    pause: () => answer?.pause(),
    resume: () => answer?.resume(),
    abort: () => sent.destroy(),
  });

  sent.on("upgrade", (message, upstreamSocket, upstreamHead) => {
    clearTimeout(timer);
    if (!exchange.hasClient) {
      upstreamSocket.destroy();
      return;
    }
    exchange.detach();
    counters.upgrades += 1;
    socket.write(headOf(message), "latin1");
    if (upstreamHead.length > 0) socket.write(upstreamHead);
    if (head.length > 0) upstreamSocket.write(head);
    counters.bytesUp += head.length;
    counters.bytesDown += upstreamHead.length;
    tie(socket, upstreamSocket, counters);
  });
  sent.on("response", (message) => {
    clearTimeout(timer);
    answer = message;
    try {
      exchange.start(message.statusCode ?? 502, message.statusMessage ?? "", message.rawHeaders);
    } catch (error) {
      sent.destroy(error instanceof Error ? error : undefined);
      return;
    }
    message.on("data", (chunk: Buffer) => exchange.write(chunk));
    message.on("end", () => exchange.end(message.rawTrailers));
    message.on("error", () => {
      counters.cuts += 1;
      exchange.cut();
    });
  });
  sent.on("error", (error) => {
    clearTimeout(timer);
    if (answer === undefined) to.onFailure(error, isUnsent);
  });
  sent.end();
}

/** Ties two connections: back-pressure and half-closing both ways; the end of one ends the other. */
function tie(client: Duplex, agent: Duplex, counters: Counters): void {
  client.on("data", (chunk: Buffer) => {
    counters.bytesUp += chunk.length;
  });
  agent.on("data", (chunk: Buffer) => {
    counters.bytesDown += chunk.length;
  });
  client.pipe(agent);
  agent.pipe(client);
  client.on("close", () => breakOff(client, agent));
  agent.on("close", () => breakOff(agent, client));
  // Errors are followed by `close`.
  client.on("error", () => undefined);
  agent.on("error", () => undefined);
}

/** Once one end is closed, breaks the other off unless its goodbye is already on its way. */
function breakOff(closed: Duplex, other: Duplex): void {
  if (other.destroyed || (closed.errored === null && other.writableEnded)) return;
  // A clean end would pass what was sent so far off as all there was.
  if (other instanceof Socket) other.resetAndDestroy();
  else other.destroy();
}

function headOf(message: IncomingMessage): string {
  let head = `HTTP/1.1 101 ${message.statusMessage ?? "Switching Protocols"}\r\n`;
  const raw = message.rawHeaders;
  for (let i = 0; i + 1 < raw.length; i += 2) {
    if (!raw[i]?.toLowerCase().startsWith("soulbox-")) head += `${raw[i]}: ${raw[i + 1]}\r\n`;
  }
  return `${head}\r\n`;
}
