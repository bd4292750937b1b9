/** Stands in for agents and clients in this package's tests; nothing else imports it. */
import { once } from "node:events";
import {
  createServer,
  type IncomingMessage,
  request as openRequest,
  type RequestOptions,
  type Server,
  type ServerResponse,
} from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { attachGateway } from "./attach.ts";
import { createGateway, type Gateway } from "./gateway.ts";
import type { GatewayPorts, Resolution } from "./ports.ts";

/** The sandbox of most tests. */
export const SANDBOX_ID = "sb00000000000000000001";
/** Another. */
export const OTHER_ID = "sb00000000000000000002";

/** A server that is closed with everything on it. */
export interface Running {
  readonly server: Server;
  readonly port: number;
  close(): Promise<void>;
}

/** Listens on a free port of the loopback, or at a path. */
export async function listen(server: Server, path?: string): Promise<Running> {
  if (path === undefined) server.listen(0, "127.0.0.1");
  else server.listen(path);
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    socket.on("close", () => sockets.delete(socket));
  });
  await once(server, "listening");
  const address = server.address();
  return {
    server,
    port: typeof address === "string" ? 0 : (address as AddressInfo).port,
    async close() {
      const closed = once(server, "close");
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

/** A fake agent: an HTTP server whose handler the test gives. */
export function fakeAgent(
  handler: (request: IncomingMessage, response: ServerResponse) => void,
  path?: string,
): Promise<Running> {
  return listen(createServer(handler), path);
}

/** A resolution that routes to an agent. */
export function routeTo(address: string, more: Partial<RouteFields> = {}): Resolution {
  const fields = { launchId: `${SANDBOX_ID}-1`, publicTraffic: true, maskRequestHost: undefined };
  return { kind: "route", route: { ...fields, address, ...more } };
}

interface RouteFields {
  readonly launchId: string;
  readonly publicTraffic: boolean;
  readonly maskRequestHost: string | undefined;
}

/** A gateway on a server of its own; what is no sandbox's answers `api`. */
export async function startGateway(
  ports: Partial<GatewayPorts>,
): Promise<Running & { readonly gateway: Gateway; readonly log: string[] }> {
  const log: string[] = [];
  const gateway = createGateway({
    resolve: () => ({ kind: "gone" }),
    wake: () => Promise.reject(new Error("nothing to wake")),
    owners: () => [],
    trafficToken: () => "traffic-token",
    log: (event) => log.push(event),
    ...ports,
  });
  const server = createServer();
  attachGateway(server, gateway, { request: (_request, response) => response.end("api") });
  const running = await listen(server);
  return {
    ...running,
    gateway,
    log,
    async close() {
      await gateway.close(0);
      await running.close();
    },
  };
}

/** What came back. */
export interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage["headers"];
  readonly trailers: IncomingMessage["trailers"];
  readonly text: string;
  json(): unknown;
}

/** Sends a request and reads the whole answer. */
export function send(
  port: number,
  options: RequestOptions & { readonly body?: string } = {},
): Promise<Answer> {
  const { body, ...rest } = options;
  return new Promise((resolve, reject) => {
    const sent = openRequest({ port, host: "127.0.0.1", agent: false, ...rest });
    sent.on("error", reject);
    sent.on("response", (message) => {
      let text = "";
      message.setEncoding("utf8");
      message.on("data", (part: string) => {
        text += part;
      });
      message.on("error", reject);
      message.on("end", () => {
        const { statusCode: status = 0, headers, trailers } = message;
        resolve({ status, headers, trailers, text, json: () => JSON.parse(text) });
      });
    });
    sent.end(body);
  });
}

/** Writes bytes to a server and reads until it closes, or until `until` has come. */
export function sendRaw(
  port: number,
  bytes: string,
  until: RegExp = /\r\n\r\n/,
): Promise<{ readonly text: string; readonly socket: Socket }> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
    let text = "";
    const done = () => resolve({ text, socket });
    socket.on("data", (chunk: Buffer) => {
      text += chunk.toString("latin1");
      if (until.test(text)) done();
    });
    socket.on("end", done);
    socket.on("close", done);
    socket.on("error", reject);
    socket.write(bytes, "latin1");
  });
}

/** Waits until a claim holds, at most fifteen seconds. */
export async function until(holds: () => boolean): Promise<void> {
  const endMs = Date.now() + 15_000;
  while (!holds()) {
    if (Date.now() > endMs) throw new Error("It does not come about");
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}
