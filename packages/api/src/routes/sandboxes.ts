import { createRoute, type OpenAPIHono } from "@hono/zod-openapi";
import {
  ControlPlaneError,
  type CreateInput,
  durationMs,
  LIMITS,
  parseSandboxId,
  quote,
} from "@soulbox/core";
import {
  CreateSandboxBody,
  pageOf,
  SandboxDetailView,
  SandboxView,
  STATES,
} from "@soulbox/protocol";
import { z } from "zod";
import { isAllowed } from "../auth.ts";
import type { ApiEnv } from "../env.ts";
import { onceOf } from "../idempotency.ts";
import { invalidError } from "../invalid.ts";
import { fillPage } from "../pages.ts";
import type { ApiPorts } from "../ports.ts";
import { awaitState, isSettled, settleWithin, WAIT_MS_MAX } from "../settle.ts";
import { sandboxDetailView, sandboxView } from "../views.ts";
import {
  answer,
  defined,
  guarded,
  guardedBody,
  jsonOf,
  PAGE_QUERY,
  PROBLEMS,
  routeGroup,
  SandboxParam,
  timeText,
  waitSeconds,
} from "./parts.ts";

const METADATA = "metadata.";

const states = z
  .union([z.string(), z.array(z.string())])
  .transform((given) => [given].flat().flatMap((part) => part.split(",")))
  .pipe(z.array(z.enum(STATES)))
  .openapi({ type: "string", description: "One or more states, comma separated" });

/** Create, list, look at and end sandboxes. */
export function sandboxRoutes(ports: ApiPorts): OpenAPIHono<ApiEnv> {
  const { controlPlane } = ports;
  const app = routeGroup();

  app.openapi(
    createRoute({
      ...guardedBody(ports, "sandboxes"),
      method: "post",
      path: "/v1/sandboxes",
      summary: "Create a sandbox",
      description:
        "Answers 201 when it runs within `wait` seconds (default 60), else 202: wait on with " +
        "`GET {Location}?wait=60&state=running`. With the header `Idempotency-Key` the same " +
        "request again answers with the same sandbox.",
      request: {
        query: z.strictObject({ wait: waitSeconds.optional() }),
        body: jsonOf(CreateSandboxBody),
      },
      responses: {
        201: answer(SandboxDetailView, "It runs"),
        202: answer(SandboxDetailView, "Its launch is under way"),
        ...PROBLEMS,
      },
    }),
    async (c) => {
      const body = c.req.valid("json");
      const once = await onceOf(ports, c.req.raw, body);
      const asked = once === undefined ? inputOf(body) : { ...inputOf(body), once };
      const committed = await controlPlane.create(c.get("caller"), asked);
      const waitMs = c.req.valid("query").wait ?? WAIT_MS_MAX;
      const sandbox = await settleWithin(ports, committed, waitMs);
      c.header("location", `/v1/sandboxes/${sandbox.id}`);
      const { origin } = new URL(c.req.url);
      const view = sandboxDetailView(ports, sandbox, { origin, isUser: true });
      return isSettled(sandbox) ? c.json(view, 201) : c.json(view, 202);
    },
  );

  app.openapi(
    createRoute({
      ...guarded(ports, "sandboxes:read"),
      method: "get",
      path: "/v1/sandboxes",
      summary: "List sandboxes, newest first",
      description: "`metadata.<name>=<value>` keeps those with that mark; all given must match.",
      request: {
        query: z.looseObject({
          ...PAGE_QUERY,
          state: states.optional(),
          template: z.string().optional(),
          createdFrom: timeText.optional(),
          order: z.enum(["asc", "desc"]).optional(),
        }),
      },
      responses: { 200: answer(pageOf(SandboxView), "One page"), ...PROBLEMS },
    }),
    async (c) => {
      const { cursor, limit, state, template, createdFrom, order, ...rest } = c.req.valid("query");
      const filter = {
        states: state,
        metadata: metadataOf(rest),
        ...defined({
          templateId: template && ports.templates.resolve(template).id,
          createdFromMs: createdFrom,
          order,
        }),
      };
      const page = await fillPage(limit ?? LIMITS.pageDefault, cursor, (from, count) =>
        controlPlane.list(c.get("caller"), { ...filter, cursor: from, limit: count }),
      );
      return c.json({ items: page.items.map(sandboxView), next: page.next ?? null }, 200);
    },
  );

  app.openapi(
    createRoute({
      ...guarded(ports, "sandboxes:read"),
      method: "get",
      path: "/v1/sandboxes/{id}",
      summary: "Look at a sandbox",
      description:
        "With `wait` it answers when the sandbox is in `state` (default: when nothing is under " +
        "way), has ended, or the seconds are over, whichever is first.",
      request: {
        params: SandboxParam,
        query: z.strictObject({
          wait: waitSeconds.optional(),
          state: z.enum(STATES).optional(),
        }),
      },
      responses: { 200: answer(SandboxDetailView, "The sandbox"), ...PROBLEMS },
    }),
    async (c) => {
      const caller = c.get("caller");
      const id = parseSandboxId(c.req.valid("param").id);
      const { wait, state } = c.req.valid("query");
      const asked = { waitMs: wait ?? durationMs(0), state };
      const sandbox = await awaitState(ports, caller, id, asked, c.req.raw.signal);
      const { origin } = new URL(c.req.url);
      const isUser = isAllowed(caller, "sandboxes");
      return c.json(sandboxDetailView(ports, sandbox, { origin, isUser }), 200);
    },
  );

  app.openapi(
    createRoute({
      ...guarded(ports, "sandboxes"),
      method: "delete",
      path: "/v1/sandboxes/{id}",
      summary: "Terminate a sandbox",
      description:
        "From the answer on it can't be used and costs nothing. Answers 200 when its instance is " +
        "gone within `wait` seconds (default 0), else 202. A second time: `sandbox_ended`.",
      request: { params: SandboxParam, query: z.strictObject({ wait: waitSeconds.optional() }) },
      responses: {
        200: answer(SandboxView, "It is gone"),
        202: answer(SandboxView, "It is going"),
        ...PROBLEMS,
      },
    }),
    async (c) => {
      const id = parseSandboxId(c.req.valid("param").id);
      const ending = await controlPlane.terminate(c.get("caller"), id);
      const waitMs = c.req.valid("query").wait ?? durationMs(0);
      const sandbox = await settleWithin(ports, ending, waitMs);
      return c.json(sandboxView(sandbox), isSettled(sandbox) ? 200 : 202);
    },
  );

  return app;
}

function inputOf(body: CreateSandboxBody): CreateInput {
  const { template, resources, lifetimeMs, network, place, ...rest } = body;
  return {
    template,
    ...defined(rest),
    ...defined({
      lifetimeMs: lifetimeMs === undefined ? undefined : durationMs(lifetimeMs),
      resources: resources && defined(resources),
      network: network && defined(network),
      place: place && defined(place),
    }),
  };
}

/** The filter by metadata; anything else that is left of the query is a mistake. */
function metadataOf(rest: Readonly<Record<string, unknown>>): Record<string, string> {
  const pairs = Object.entries(rest).map(([name, value]) => {
    const mark = name.startsWith(METADATA) ? name.slice(METADATA.length) : "";
    if (mark === "") {
      throw new ControlPlaneError("invalid_request", `There is no filter ${quote(name)}.`, {
        hint: "Use cursor, limit, state, template, createdFrom, order or metadata.<name>.",
      });
    }
    const text = z.string().safeParse(value);
    if (!text.success) throw invalidError("query", text.error, value);
    return [mark, text.data] as const;
  });
  return Object.fromEntries(pairs);
}
