import { createRoute, type OpenAPIHono } from "@hono/zod-openapi";
import { after, durationMs, parseSandboxId } from "@soulbox/core";
import { ExtendSandboxBody, ResumeSandboxBody, SandboxView } from "@soulbox/protocol";
import { z } from "zod";
import type { ApiEnv } from "../env.ts";
import type { ApiPorts } from "../ports.ts";
import { isSettled, settleWithin, WAIT_MS_MAX } from "../settle.ts";
import { sandboxView } from "../views.ts";
import {
  answer,
  guarded,
  guardedBody,
  jsonOf,
  PROBLEMS,
  routeGroup,
  SandboxParam,
  waitSeconds,
} from "./parts.ts";

const WAIT = "Answers 200 when it is done within `wait` seconds (default 60), else 202.";
const MOVED = {
  200: answer(SandboxView, "It is done"),
  202: answer(SandboxView, "It is under way"),
  ...PROBLEMS,
};
const waiting = z.strictObject({ wait: waitSeconds.optional() });

/** Pause, resume and extend a sandbox. */
export function moveRoutes(ports: ApiPorts): OpenAPIHono<ApiEnv> {
  const { controlPlane, clock } = ports;
  const app = routeGroup();

  app.openapi(
    createRoute({
      ...guarded(ports, "sandboxes"),
      method: "post",
      path: "/v1/sandboxes/{id}/pause",
      summary: "Pause a sandbox",
      description: `Its processes stand still and survive. ${WAIT}`,
      request: { params: SandboxParam, query: waiting },
      responses: MOVED,
    }),
    async (c) => {
      const id = parseSandboxId(c.req.valid("param").id);
      const pausing = await controlPlane.pause(c.get("caller"), id);
      const waitMs = c.req.valid("query").wait ?? WAIT_MS_MAX;
      const sandbox = await settleWithin(ports, pausing, waitMs);
      return c.json(sandboxView(sandbox), isSettled(sandbox) ? 200 : 202);
    },
  );

  app.openapi(
    createRoute({
      ...guardedBody(ports, "sandboxes"),
      method: "post",
      path: "/v1/sandboxes/{id}/resume",
      summary: "Resume a paused sandbox",
      description: `With a new life that counts from now. Running already: unchanged. ${WAIT}`,
      request: { params: SandboxParam, query: waiting, body: jsonOf(ResumeSandboxBody) },
      responses: MOVED,
    }),
    async (c) => {
      const id = parseSandboxId(c.req.valid("param").id);
      const { lifetimeMs } = c.req.valid("json");
      const life = lifetimeMs === undefined ? undefined : durationMs(lifetimeMs);
      const resuming = await controlPlane.resume(c.get("caller"), id, life);
      const waitMs = c.req.valid("query").wait ?? WAIT_MS_MAX;
      const sandbox = await settleWithin(ports, resuming, waitMs);
      return c.json(sandboxView(sandbox), isSettled(sandbox) ? 200 : 202);
    },
  );

  app.openapi(
    createRoute({
      ...guardedBody(ports, "sandboxes"),
      method: "post",
      path: "/v1/sandboxes/{id}/extend",
      summary: "Move the end of a sandbox's life",
      request: { params: SandboxParam, body: jsonOf(ExtendSandboxBody) },
      responses: { 200: answer(SandboxView, "With its new end"), ...PROBLEMS },
    }),
    async (c) => {
      const id = parseSandboxId(c.req.valid("param").id);
      const { lifetimeMs, mode } = c.req.valid("json");
      const expiresAtMs = after(clock.now(), lifetimeMs);
      const sandbox = await controlPlane.extend(c.get("caller"), id, expiresAtMs, mode);
      return c.json(sandboxView(sandbox), 200);
    },
  );

  return app;
}
