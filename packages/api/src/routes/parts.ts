import { OpenAPIHono } from "@hono/zod-openapi";
import { type Cursor, durationMs, type EpochMs, epochMs, LIMITS, type Scope } from "@soulbox/core";
import { Problem } from "@soulbox/protocol";
import type { MiddlewareHandler } from "hono";
import { z } from "zod";
import { allow, identify } from "../auth.ts";
import { jsonBody } from "../body.ts";
import type { ApiEnv } from "../env.ts";
import { invalidError } from "../invalid.ts";
import type { ApiPorts } from "../ports.ts";
import { WAIT_MS_MAX } from "../settle.ts";

const WHERE = { json: "body", query: "query", param: "path", header: "header" } as const;

/** A group of `/v1` routes. Requests that don't match their schemas become `invalid_request`. */
export function routeGroup(): OpenAPIHono<ApiEnv> {
  return new OpenAPIHono<ApiEnv>({
    defaultHook: (result) => {
      if (result.success) return;
      const where = WHERE[result.target as keyof typeof WHERE] ?? "body";
      throw invalidError(where, result.error, "data" in result ? result.data : undefined);
    },
  });
}

/** What a route needs that asks for a scope, and what its document says about it. */
export function guarded(ports: ApiPorts, scope: Scope) {
  return { ...secured(scope), middleware: [allow(ports, scope)] };
}

/** Like {@link guarded}, for a route with a JSON body. */
export function guardedBody(ports: ApiPorts, scope: Scope) {
  return { ...secured(scope), middleware: [allow(ports, scope), jsonBody()] };
}

/** For a route that any key may ask. */
export function identified(ports: ApiPorts): Secured {
  return { ...secured("any"), middleware: [identify(ports)] };
}

interface Secured {
  readonly security: { [scheme: string]: string[] }[];
  readonly "x-soulbox-scope": Scope | "any";
  readonly middleware: MiddlewareHandler<ApiEnv>[];
}

function secured(scope: Scope | "any") {
  return { security: [{ apiKey: [] }, { bearer: [] }], "x-soulbox-scope": scope };
}

/** A JSON answer in the document. */
export function answer<Schema extends z.ZodType>(schema: Schema, description: string) {
  return { description, content: { "application/json": { schema } } };
}

/** Errors, which look the same on every route. */
export const PROBLEMS = {
  default: {
    description: "A problem; `code` tells which",
    content: { "application/problem+json": { schema: Problem.meta({ id: "Problem" }) } },
  },
} as const;

/** A JSON body. Absent counts as `{}`. */
export function jsonOf<Schema extends z.ZodType>(schema: Schema) {
  return { required: true, content: { "application/json": { schema } } } as const;
}

/** The path parameter of a sandbox. */
export const SandboxParam = z.object({ id: z.string().meta({ description: "Sandbox id" }) });

/** An integer in a query, without signs, fractions or exponents. */
export function integerText(min: number, max: number) {
  const allowed = `an integer from ${min} to ${max}`;
  return z
    .string()
    .regex(/^\d{1,15}$/, allowed)
    .transform(Number)
    .refine((value) => value >= min && value <= max, allowed)
    .openapi({ type: "integer", minimum: min, maximum: max });
}

/** `?wait=`, in seconds, as milliseconds. */
export const waitSeconds = integerText(0, WAIT_MS_MAX / 1000).transform((seconds) =>
  durationMs(seconds * 1000),
);

/** An RFC 3339 time in a query, as an instant. */
export const timeText = z.iso
  .datetime({ offset: true, error: "an RFC 3339 time" })
  .transform((text): EpochMs => epochMs(Date.parse(text)));

/** `?cursor=` and `?limit=` of every list. */
export const PAGE_QUERY = {
  cursor: z
    .string()
    .min(1)
    .max(4096)
    .transform((text) => text as Cursor)
    .optional()
    .openapi({ type: "string", description: "`next` of the page before" }),
  limit: integerText(1, LIMITS.pageMax).optional(),
};

/** An object without its undefined members, as exact optional properties want it. */
export function defined<Members extends object>(
  members: Members,
): { [Name in keyof Members]?: Exclude<Members[Name], undefined> } {
  const entries = Object.entries(members).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as ReturnType<typeof defined<Members>>;
}
