import type { HEADERS } from "@soulbox/protocol";
import { COMPOSE_BYTES_MAX, composeFiles } from "./compose.ts";
import { download } from "./download.ts";
import type { Exchange } from "./exchange.ts";
import { toFileFault } from "./file-writer.ts";
import { filesystemMethods } from "./filesystem-rpc.ts";
import { HttpFault } from "./http-head.ts";
import { Identity, type IdentityHolder } from "./identity.ts";
import { INIT_BYTES_MAX, InitRefused, verifyInit } from "./init.ts";
import { parseMessage } from "./message.ts";
import { Meter } from "./metrics.ts";
import { forwardToPort } from "./ports.ts";
import { processMethods } from "./process-rpc.ts";
import { ProcessTable } from "./process-table.ts";
import { RPC_CODES, RpcError } from "./rpc-error.ts";
import { OWN_PORT, type Settings } from "./settings.ts";
import { refuseFileRequest } from "./signature.ts";
import { upload } from "./upload.ts";
import { Users } from "./users.ts";
import { watchMethods } from "./watch-rpc.ts";

type Headers = typeof HEADERS;

const SANDBOX_ID: Headers["sandboxId"] = "e2b-sandbox-id";
const SANDBOX_PORT: Headers["sandboxPort"] = "e2b-sandbox-port";
const ACCESS_TOKEN: Headers["accessToken"] = "x-access-token";
const LAUNCH_ID: Headers["launchId"] = "soulbox-launch";

/** Connect's codes by HTTP status, for refusals on the plain routes. */
const statusOf = (error: RpcError): number => RPC_CODES[error.code];

type Methods = Readonly<Record<string, (exchange: Exchange) => Promise<void>>>;

/** Routes requests: who may ask, and who answers. */
export class Server implements IdentityHolder {
  identity: Identity | undefined;
  readonly #settings: Settings;
  readonly #users = new Users();
  readonly #meter = new Meter();
  readonly #services: Readonly<Record<string, Methods>>;

  constructor(settings: Settings) {
    this.#settings = settings;
    this.#services = {
      "process.Process": processMethods(this, new ProcessTable()),
      "filesystem.Filesystem": { ...filesystemMethods(this), ...watchMethods(this) },
    };
  }

  /** Answers one request. */
  handle(exchange: Exchange): void {
    void this.#handle(exchange).catch((error: unknown) => {
      if (exchange.isClosed) return;
      if (exchange.isAnswered) exchange.cut();
      else if (error instanceof RpcError) exchange.fail(statusOf(error), error.message);
      else if (error instanceof HttpFault) exchange.fail(error.status, error.message);
      else {
        const fault = toFileFault(error, `${exchange.head.method} ${exchange.path}`);
        exchange.fail(fault.status, fault.message);
      }
    });
  }

  async #handle(exchange: Exchange): Promise<void> {
    if (this.#refuseMisrouted(exchange)) return;
    const { identity } = this;
    const port = exchange.field(SANDBOX_PORT);
    if (port !== undefined && port !== String(OWN_PORT)) {
      return this.#forward(exchange, port);
    }
    const { method } = exchange.head;
    if (exchange.field("origin") !== undefined) exchange.extraFields = CORS_FIELDS;
    if (method === "OPTIONS") return exchange.answer(204, CORS_PREFLIGHT_FIELDS);
    if (exchange.path === "/health") return exchange.answer(204, { "cache-control": "no-store" });
    if (exchange.path === "/init") return this.#init(exchange);
    if (identity === undefined) return refuseUninitialised(exchange);
    if (exchange.path === "/files") return this.#files(exchange, identity);
    if (!identity.accepts(exchange.field(ACCESS_TOKEN))) {
      return exchange.fail(401, "the access token is missing or not valid");
    }
    const [, service = "", name = "", more] = exchange.path.split("/");
    const methods = this.#services[service];
    if (methods !== undefined && more === undefined) {
      return this.#call(exchange, methods, name);
    }
    return this.#plain(exchange, identity);
  }

  /** Answers 502 to a request that was meant for another instance. */
  #refuseMisrouted(exchange: Exchange): boolean {
    const launchId = exchange.field(LAUNCH_ID);
    const sandboxId = exchange.field(SANDBOX_ID);
    const own = this.identity?.claims.sandboxId;
    const isOther =
      (launchId !== undefined && launchId !== this.#settings.launchId) ||
      (sandboxId !== undefined && own !== undefined && sandboxId !== own);
    if (!isOther) return false;
    const message = "The sandbox was not found";
    exchange.json(502, { sandboxId: sandboxId ?? own ?? "", message, code: 502 });
    return true;
  }

  #forward(exchange: Exchange, text: string): void {
    const port = Number(text);
    const sandboxId = this.identity?.claims.sandboxId;
    if (sandboxId === undefined) refuseUninitialised(exchange);
    else if (!/^\d{1,5}$/.test(text) || port < 1 || port > 65535) {
      exchange.fail(400, `${SANDBOX_PORT} ${JSON.stringify(text)} is not a port`);
    } else forwardToPort(exchange, { port, sandboxId });
  }

  async #call(exchange: Exchange, methods: Methods, name: string): Promise<void> {
    const method = Object.hasOwn(methods, name) ? methods[name] : undefined;
    if (method === undefined) return exchange.fail(404, `there is no method ${exchange.path}`);
    if (exchange.head.method !== "POST") {
      return exchange.answer(405, { allow: "POST" }, "calls are made by POST\n");
    }
    await method(exchange);
  }

  async #init(exchange: Exchange): Promise<void> {
    if (exchange.head.method !== "POST") return exchange.fail(405, "init is made by POST");
    const body = await exchange.body.readAll(INIT_BYTES_MAX);
    if (body === undefined)
      return exchange.fail(413, `init is longer than ${INIT_BYTES_MAX} bytes`);
    const { initKey: key, launchId } = this.#settings;
    const nowSeconds = Date.now() / 1000;
    try {
      const claims = await verifyInit(body.toString("latin1"), { key, launchId, nowSeconds });
      const current = this.identity?.claims;
      if (current !== undefined && current.sandboxId !== claims.sandboxId) {
        return exchange.fail(409, `this instance is sandbox ${current.sandboxId} already`);
      }
      // Claims signed later replace earlier ones; a repetition that comes late changes nothing.
      if (current === undefined || claims.iat > current.iat) {
        this.identity = new Identity(claims, this.#users);
      }
      exchange.answer(204, {});
    } catch (error) {
      if (!(error instanceof InitRefused)) throw error;
      exchange.fail(401, `init is refused: ${error.message}`);
    }
  }

  async #files(exchange: Exchange, identity: Identity): Promise<void> {
    const { method } = exchange.head;
    const isRead = method === "GET" || method === "HEAD";
    if (!isRead && method !== "POST") {
      return exchange.answer(405, { allow: "GET, HEAD, POST" }, `${method} /files\n`);
    }
    const { parameters } = exchange;
    const refusal = refuseFileRequest(identity, {
      token: exchange.field(ACCESS_TOKEN),
      parameters,
      operation: isRead ? "read" : "write",
      nowSeconds: Date.now() / 1000,
    });
    if (refusal !== undefined) return exchange.fail(401, refusal);
    const user = identity.user(parameters.get("username") ?? undefined);
    if (isRead) {
      return await download(exchange, identity.path(parameters.get("path") ?? "", user));
    }
    await upload(exchange, identity, user);
  }

  async #plain(exchange: Exchange, identity: Identity): Promise<void> {
    const route = `${exchange.head.method} ${exchange.path}`;
    switch (route) {
      case "GET /metrics":
        return exchange.json(200, this.#meter.read());
      case "GET /envs":
        return exchange.json(200, identity.env);
      case "POST /files/compose": {
        const body = await exchange.body.readAll(COMPOSE_BYTES_MAX);
        if (body === undefined) return exchange.fail(413, "the list of sources is too long");
        return exchange.json(200, await composeFiles(parseMessage(body.toString()), identity));
      }
      default:
        return exchange.fail(404, `there is no ${route}`);
    }
  }
}

const CORS_FIELDS = {
  "access-control-allow-origin": "*",
  "access-control-expose-headers": "*",
} as const;

const CORS_PREFLIGHT_FIELDS = {
  "access-control-allow-origin": "*",
  "access-control-allow-methods": "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
  // A wildcard does not cover `authorization`.
  "access-control-allow-headers": "*, authorization",
  "access-control-max-age": "7200",
} as const;

function refuseUninitialised(exchange: Exchange): void {
  exchange.fail(503, "this instance is not a sandbox yet");
}
