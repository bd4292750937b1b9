import {
  type Caller,
  ControlPlaneError,
  type Cursor,
  epochMs,
  hasCode,
  LIMITS,
  parseSandboxId,
  quote,
  type Sandbox,
} from "@soulbox/core";
import type { Context, Handler } from "hono";
import { isAllowed } from "../auth.ts";
import { readBody } from "../body.ts";
import type { ApiEnv } from "../env.ts";
import { onceOf } from "../idempotency.ts";
import { invalidError } from "../invalid.ts";
import { fillPage } from "../pages.ts";
import type { ApiPorts } from "../ports.ts";
import { settle, settleFully } from "../settle.ts";
import { parseMetadataFilter } from "./metadata-filter.ts";
import { ListQuery, NewSandbox } from "./requests.ts";
import {
  createInputOf,
  detailView,
  E2B_STATES,
  type E2bState,
  e2bState,
  type Generation,
  listedView,
  sandboxView,
} from "./translate.ts";

/** Pages that the old list, which has no pagination, puts together. */
const OLD_LIST_PAGES_MAX = 10;

/**
 * Reads the sandbox that a path names. E2B's old form `<id>-<client id>` is understood.
 *
 * @throws not_found also for another tenant's, and for one that has ended.
 */
export async function liveSandbox(ports: ApiPorts, caller: Caller, text: string): Promise<Sandbox> {
  const id = parseSandboxId(text.split("-", 1)[0] ?? "");
  const sandbox = await ports.controlPlane.get(caller, id);
  requireUsable(sandbox);
  return sandbox;
}

/** @throws not_found when the sandbox has ended or is about to. */
export function requireUsable({ id, state }: Sandbox): void {
  if (e2bState(state) !== undefined) return;
  throw new ControlPlaneError("not_found", `There is no sandbox ${id} any more.`);
}

/** `POST /sandboxes`, `POST /v2/sandboxes`: answers when the sandbox runs. */
export function createSandbox(ports: ApiPorts, generation: Generation): Handler<ApiEnv> {
  return async (c) => {
    const body = await readBody(c.req.raw, NewSandbox);
    const input = createInputOf(body, generation);
    requireTemplate(ports, input.template);
    const once = await onceOf(ports, c.req.raw, body);
    const caller = c.get("caller");
    const asked = once === undefined ? input : { ...input, once };
    const committed = await ports.controlPlane.create(caller, asked);
    const sandbox = await settleFully(ports, caller, committed, c.req.raw.signal);
    requireUsable(sandbox);
    return c.json(sandboxView(ports, sandbox), 201);
  };
}

/** `GET /sandboxes/{id}` */
export function getSandbox(ports: ApiPorts): Handler<ApiEnv, "/:id"> {
  return async (c) => {
    const caller = c.get("caller");
    const sandbox = await liveSandbox(ports, caller, c.req.param("id"));
    return c.json(detailView(ports, sandbox, isAllowed(caller, "sandboxes")));
  };
}

/** `DELETE /sandboxes/{id}`: answers when the end is committed; the instance goes afterwards. */
export function killSandbox(ports: ApiPorts): Handler<ApiEnv, "/:id"> {
  return async (c) => {
    const caller = c.get("caller");
    const { id } = await liveSandbox(ports, caller, c.req.param("id"));
    const ending = await ports.controlPlane.terminate(caller, id);
    settle(ports, ending).catch(() => undefined);
    return c.body(null, 204);
  };
}

/** `GET /v2/sandboxes`: one page. */
export function listSandboxes(ports: ApiPorts): Handler<ApiEnv> {
  return async (c) => {
    const query = listQuery(c);
    const templateId = templateFilter(ports, query.template);
    if (templateId === null) return c.json([]);
    const read = reader(ports, c, query.state ?? ["running", "paused"], {
      order: query.order ?? "desc",
      ...(templateId === undefined ? {} : { templateId }),
      ...(query.startedAfter === undefined
        ? {}
        : { createdFromMs: epochMs(Date.parse(query.startedAfter)) }),
    });
    const cursor = query.nextToken === undefined ? undefined : (query.nextToken as Cursor);
    const page = await fillPage(query.limit ?? LIMITS.pageDefault, cursor, read);
    if (page.next !== undefined) c.header("x-next-token", page.next);
    return c.json(page.items.map(listedView));
  };
}

/** `GET /sandboxes`: the running ones, without pagination. */
export function listRunning(ports: ApiPorts): Handler<ApiEnv> {
  return async (c) => {
    const read = reader(ports, c, ["running"], { order: "desc" });
    const limit = LIMITS.pageMax * OLD_LIST_PAGES_MAX;
    const page = await fillPage(limit, undefined, (cursor, left) =>
      read(cursor, Math.min(left, LIMITS.pageMax)),
    );
    return c.json(page.items.map(listedView));
  };
}

function listQuery(c: Context<ApiEnv>) {
  const state = c.req
    .queries("state")
    ?.flatMap((part) => part.split(","))
    .filter((part) => part !== "");
  const { order, startedAfter, template, nextToken, limit } = c.req.query();
  const given = { order, startedAfter, template, nextToken: nextToken || undefined, limit, state };
  const parsed = ListQuery.safeParse(given);
  if (!parsed.success) throw invalidError("query", parsed.error, given);
  return parsed.data;
}

function reader(
  ports: ApiPorts,
  c: Context<ApiEnv>,
  states: readonly E2bState[],
  filter: { order: "asc" | "desc"; templateId?: string; createdFromMs?: Sandbox["createdAtMs"] },
) {
  const metadata = parseMetadataFilter(c.req.query("metadata") ?? "");
  return (cursor: Cursor | undefined, limit: number) =>
    ports.controlPlane.list(c.get("caller"), {
      ...filter,
      states: states.flatMap((state) => E2B_STATES[state]),
      metadata,
      cursor,
      limit,
    });
}

/** The template's id; `undefined` without a filter; `null` when no sandbox can match. */
function templateFilter(ports: ApiPorts, name: string | undefined): string | undefined | null {
  if (name === undefined || name === "") return undefined;
  try {
    return ports.templates.resolve(name).id;
  } catch (error) {
    if (hasCode(error, "not_found") || hasCode(error, "unsupported")) return null;
    throw error;
  }
}

/** Says it in E2B's words when the template is unknown. */
function requireTemplate(ports: ApiPorts, name: string): void {
  try {
    ports.templates.resolve(name);
  } catch (error) {
    if (!hasCode(error, "not_found")) throw error;
    throw new ControlPlaneError("not_found", `template '${quote(name).slice(1, -1)}' not found`, {
      ...(error.hint === undefined ? {} : { hint: error.hint }),
      cause: error,
    });
  }
}
