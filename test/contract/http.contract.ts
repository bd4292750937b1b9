import { afterEach } from "vitest";
import { authCases } from "./http.auth.contract.ts";
import { badInputCases } from "./http.bad-input.contract.ts";
import { catalogueCases } from "./http.catalogue.contract.ts";
import { e2bCreateCases } from "./http.e2b-create.contract.ts";
import { e2bLifeCases } from "./http.e2b-life.contract.ts";
import { e2bListCases } from "./http.e2b-lists.contract.ts";
import { inSandboxCases } from "./http.in-sandbox.contract.ts";
import { moneyCases } from "./http.money.contract.ts";
import { sandboxCases } from "./http.sandboxes.contract.ts";
import { createHttpWorld, type Fetch, type HttpWorld } from "./http.world.ts";

/** A way to reach the API: the app itself, a Node server, a function behind an event. */
export interface HttpServer {
  readonly fetch: Fetch;
  close(): Promise<void>;
}

/** One answer, with its body parsed when it is JSON. */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into bodies of every shape.
  readonly json: any;
}

/** What a request has beside method and path. */
export interface Asked {
  /** API key. */
  readonly key?: string;
  /** Sent as JSON. */
  readonly json?: unknown;
  /** Sent as it is. */
  readonly body?: string | Uint8Array<ArrayBuffer>;
  readonly headers?: Readonly<Record<string, string>>;
}

/** A world and a client for one test. */
export interface HttpTest {
  readonly world: HttpWorld;
  call(method: string, path: string, asked?: Asked): Promise<Answer>;
}

/** Opens a fresh world behind the server under test; closed after the test. */
export type Open = () => Promise<HttpTest>;

/** Every promise of the HTTP API, over any server that `serve` makes of a world. */
export function httpContract(serve: (world: HttpWorld) => Promise<HttpServer>): void {
  const closing: (() => Promise<void>)[] = [];
  afterEach(async () => {
    for (const close of closing.splice(0)) await close();
  });
  const open: Open = async () => {
    const world = createHttpWorld();
    const server = await serve(world);
    closing.push(async () => {
      await world.idle();
      await server.close();
    });
    return { world, call: (method, path, asked) => call(server.fetch, method, path, asked) };
  };
  authCases(open);
  badInputCases(open);
  sandboxCases(open);
  inSandboxCases(open);
  moneyCases(open);
  catalogueCases(open);
  e2bCreateCases(open);
  e2bLifeCases(open);
  e2bListCases(open);
}

async function call(
  fetch: Fetch,
  method: string,
  path: string,
  { key, json, body, headers = {} }: Asked = {},
): Promise<Answer> {
  const request = new Request(`http://soulbox.test${path}`, {
    method,
    headers: {
      ...(key === undefined ? {} : { "x-api-key": key }),
      ...(json === undefined ? {} : { "content-type": "application/json" }),
      ...headers,
    },
    ...(json === undefined ? {} : { body: JSON.stringify(json) }),
    ...(body === undefined ? {} : { body }),
  });
  const response = await fetch(request);
  const text = await response.text();
  const isJson = (response.headers.get("content-type") ?? "").includes("json");
  return {
    status: response.status,
    headers: response.headers,
    text,
    json: isJson && text !== "" ? JSON.parse(text) : undefined,
  };
}
