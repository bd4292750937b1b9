import {
  CostView,
  LedgerEntryView,
  Problem,
  pageOf,
  SandboxDetailView,
  type SandboxView,
  SandboxView as SandboxViewSchema,
} from "@soulbox/protocol";
import { Sandbox } from "e2b";
import type { z } from "zod";

/** Enough for a shell and a program; small, so that a machine has room for many. */
export const SMALL = { cpuMilli: 500, memoryMib: 256, diskMib: 1024 } as const;

/** An answer, read. */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: unknown;
}

/** What `POST /v1/sandboxes` may be told here. */
export interface CreateOptions {
  readonly idempotencyKey?: string;
  readonly body?: Readonly<Record<string, unknown>>;
}

/** One user of the server, with its first key. */
export interface Client {
  readonly url: string;
  /** Connection settings of the SDK. */
  readonly sdk: { readonly apiKey: string; readonly apiUrl: string; readonly sandboxUrl: string };
  /** @throws TypeError when the server can't be reached or the connection breaks. */
  call(
    method: string,
    path: string,
    body?: unknown,
    headers?: Readonly<Record<string, string>>,
  ): Promise<Answer>;
  create(options?: CreateOptions): Promise<Answer>;
  /** A small sandbox that runs, in the SDK's hands. */
  sandbox(body?: Readonly<Record<string, unknown>>): Promise<Sandbox>;
  get(id: string): Promise<z.infer<typeof SandboxDetailView>>;
  list(): Promise<readonly SandboxView[]>;
  ledger(): Promise<readonly LedgerEntryView[]>;
  cost(id: string): Promise<z.infer<typeof CostView>>;
}

/** A client of the server at `url`. */
export function createClient(url: string, apiKey: string): Client {
  const sdk = { apiKey, apiUrl: url, sandboxUrl: url };

  const call: Client["call"] = async (method, path, body, headers) => {
    const response = await fetch(`${url}${path}`, {
      method,
      headers: {
        "x-api-key": apiKey,
        ...(body !== undefined && { "content-type": "application/json" }),
        ...headers,
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    return {
      status: response.status,
      headers: response.headers,
      body: text === "" ? undefined : JSON.parse(text),
    };
  };

  const read = async <Schema extends z.ZodType>(
    schema: Schema,
    path: string,
  ): Promise<z.infer<Schema>> => {
    const { status, body } = await call("GET", path);
    if (status !== 200) throw new Error(`GET ${path} answers ${status}: ${JSON.stringify(body)}`);
    return schema.parse(body);
  };

  async function all<Item extends z.ZodType>(
    item: Item,
    path: string,
  ): Promise<readonly z.infer<Item>[]> {
    const items: z.infer<Item>[] = [];
    let cursor: string | null = null;
    do {
      const from: string = cursor === null ? "" : `?cursor=${encodeURIComponent(cursor)}`;
      const page: { items: z.infer<Item>[]; next: string | null } = await read(
        pageOf(item),
        `${path}${from}`,
      );
      items.push(...page.items);
      cursor = page.next;
    } while (cursor !== null);
    return items;
  }

  const create: Client["create"] = ({ idempotencyKey, body = { resources: SMALL } } = {}) =>
    call(
      "POST",
      "/v1/sandboxes",
      body,
      idempotencyKey === undefined ? {} : { "idempotency-key": idempotencyKey },
    );

  return {
    url,
    sdk,
    call,
    create,
    async sandbox(body = {}) {
      const lifetimeMs = 300_000;
      const answer = await create({ body: { resources: SMALL, lifetimeMs, ...body } });
      if (answer.status !== 201) {
        throw new Error(`The create answers ${answer.status}: ${JSON.stringify(answer.body)}`);
      }
      return Sandbox.connect(SandboxDetailView.parse(answer.body).id, {
        ...sdk,
        timeoutMs: lifetimeMs,
      });
    },
    get: (id) => read(SandboxDetailView, `/v1/sandboxes/${id}`),
    list: () => all(SandboxViewSchema, "/v1/sandboxes"),
    ledger: () => all(LedgerEntryView, "/v1/ledger"),
    cost: (id) => read(CostView, `/v1/sandboxes/${id}/cost`),
  };
}

/** The problem in an answer. @throws ZodError when there is none. */
export function problemOf(answer: Answer): Problem {
  return Problem.parse(answer.body);
}
