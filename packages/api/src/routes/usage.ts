import { createRoute, type OpenAPIHono } from "@hono/zod-openapi";
import { after, ControlPlaneError, type EpochMs, LIMITS, parseSandboxId } from "@soulbox/core";
import { CostView, LedgerEntryView, pageOf, UsageView } from "@soulbox/protocol";
import { z } from "zod";
import type { ApiEnv } from "../env.ts";
import { fillPage } from "../pages.ts";
import type { ApiPorts } from "../ports.ts";
import { entryView, timeOf } from "../views.ts";
import {
  answer,
  defined,
  guarded,
  PAGE_QUERY,
  PROBLEMS,
  routeGroup,
  SandboxParam,
  timeText,
} from "./parts.ts";

/** Span of `/v1/usage` when the caller names no beginning. */
const SPAN_MS_DEFAULT = 30 * 24 * 3_600_000;

/** What sandboxes have cost. */
export function usageRoutes(ports: ApiPorts): OpenAPIHono<ApiEnv> {
  const { controlPlane, clock } = ports;
  const app = routeGroup();

  app.openapi(
    createRoute({
      ...guarded(ports, "sandboxes:read"),
      method: "get",
      path: "/v1/sandboxes/{id}/cost",
      summary: "What a sandbox has cost so far",
      request: { params: SandboxParam },
      responses: { 200: answer(CostView, "Its cost and its ledger entries"), ...PROBLEMS },
    }),
    async (c) => {
      const sandboxId = parseSandboxId(c.req.valid("param").id);
      const cost = await controlPlane.cost(c.get("caller"), sandboxId);
      const view = {
        sandboxId,
        amountNanoUsd: String(cost.amount),
        accruedNanoUsd: String(cost.accrued),
        entries: cost.entries.map(entryView),
      };
      return c.json(view, 200);
    },
  );

  app.openapi(
    createRoute({
      ...guarded(ports, "billing"),
      method: "get",
      path: "/v1/usage",
      summary: "Totals over a span of time",
      description: "From `from` (default: 30 days before `until`) until before `until` (now).",
      request: {
        query: z.strictObject({ from: timeText.optional(), until: timeText.optional() }),
      },
      responses: { 200: answer(UsageView, "Totals"), ...PROBLEMS },
    }),
    async (c) => {
      const query = c.req.valid("query");
      const untilMs = query.until ?? clock.now();
      const fromMs = query.from ?? after(untilMs, -SPAN_MS_DEFAULT);
      requireOrder(fromMs, untilMs);
      const usage = await controlPlane.usage(c.get("caller"), fromMs, untilMs);
      const view = {
        from: timeOf(fromMs),
        until: timeOf(untilMs),
        billedMs: usage.billedMs,
        amountNanoUsd: String(usage.amount),
        accruedNanoUsd: String(usage.accrued),
        openCount: usage.openCount,
      };
      return c.json(view, 200);
    },
  );

  app.openapi(
    createRoute({
      ...guarded(ports, "billing"),
      method: "get",
      path: "/v1/ledger",
      summary: "The ledger, oldest entry first",
      request: {
        query: z.strictObject({
          ...PAGE_QUERY,
          from: timeText.optional(),
          until: timeText.optional(),
          sandboxId: z.string().optional(),
        }),
      },
      responses: { 200: answer(pageOf(LedgerEntryView), "One page"), ...PROBLEMS },
    }),
    async (c) => {
      const { cursor, limit, from, until, sandboxId: text } = c.req.valid("query");
      if (from !== undefined && until !== undefined) requireOrder(from, until);
      const sandboxId = text === undefined ? undefined : parseSandboxId(text);
      if (sandboxId !== undefined) await controlPlane.get(c.get("caller"), sandboxId);
      const filter = defined({ fromMs: from, untilMs: until, sandboxId });
      const page = await fillPage(limit ?? LIMITS.pageDefault, cursor, (at, count) =>
        controlPlane.entries(c.get("caller"), { ...filter, cursor: at, limit: count }),
      );
      return c.json({ items: page.items.map(entryView), next: page.next ?? null }, 200);
    },
  );

  return app;
}

function requireOrder(fromMs: EpochMs, untilMs: EpochMs): void {
  if (fromMs < untilMs) return;
  const detail = `from is ${timeOf(fromMs)}, which is not before until, ${timeOf(untilMs)}.`;
  throw new ControlPlaneError("invalid_request", detail);
}
