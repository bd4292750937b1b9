import { ControlPlaneError, quote } from "@soulbox/core";
import type { z } from "zod";

/** One part of a request that isn't as it must be. */
interface Finding {
  readonly field: string;
  readonly found: string;
  readonly allowed: string;
}

/** Findings that one answer lists. */
const FINDINGS_MAX = 20;
/** Members whose values stay out of errors: they often hold secrets. */
const SECRET = new Set(["env", "envs", "envVars", "stdin"]);

const EXPECTED: Readonly<Record<string, string>> = {
  string: "a string",
  number: "a whole number",
  int: "a whole number",
  boolean: "true or false",
  object: "an object",
  record: "an object",
  array: "a list",
};

/** What zod found wrong with `value`: names each field, what was found and what is allowed. */
export function invalidError(
  where: "body" | "query" | "path" | "header",
  error: z.core.$ZodError,
  value: unknown,
): ControlPlaneError {
  const findings = error.issues.flatMap((issue) => findingsOf(issue, value));
  const [first] = findings;
  const more = findings.length > 1 ? ` ${findings.length - 1} more are in details.` : "";
  const named = where === "body" ? "" : `${where} parameter `;
  return new ControlPlaneError(
    "invalid_request",
    first === undefined
      ? `The ${where} is not valid.`
      : `${named}${first.field} is ${first.found}; allowed: ${first.allowed}.${more}`,
    { details: { in: where, issues: findings.slice(0, FINDINGS_MAX) } },
  );
}

function findingsOf(issue: z.core.$ZodIssue, value: unknown): Finding[] {
  if (issue.code === "unrecognized_keys") {
    return issue.keys.map((key) => ({
      field: fieldOf([...issue.path, key]),
      found: "an unknown field",
      allowed: issue.message,
    }));
  }
  const isSecret = issue.path.some((part) => SECRET.has(String(part)));
  return [
    {
      field: fieldOf(issue.path),
      found: describe(valueAt(value, issue.path), isSecret),
      allowed: allowedBy(issue),
    },
  ];
}

function allowedBy(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case "invalid_type":
      return EXPECTED[issue.expected] ?? issue.expected;
    case "invalid_value":
      return issue.values.map((value) => JSON.stringify(value)).join(", ");
    case "too_small":
      return `${measured(issue.origin)}at least ${issue.minimum}`;
    case "too_big":
      return `${measured(issue.origin)}at most ${issue.maximum}`;
    default:
      return issue.message;
  }
}

function measured(origin: string): string {
  if (origin === "string") return "a length of ";
  return origin === "array" || origin === "set" || origin === "map" ? "a count of " : "";
}

function fieldOf(path: readonly PropertyKey[]): string {
  if (path.length === 0) return "The body";
  return path.map((part) => printable(String(part))).join(".");
}

function printable(part: string): string {
  return /^[\w-]{1,64}$/.test(part) ? part : quote(part);
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  let current = value;
  for (const part of path) {
    if (typeof current !== "object" || current === null) return undefined;
    current = Reflect.get(current, part);
  }
  return current;
}

function describe(value: unknown, isSecret: boolean): string {
  if (value === undefined) return "missing";
  if (value === null) return "null";
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object") return "an object";
  if (isSecret) return `a ${typeof value}`;
  return typeof value === "string" ? quote(value) : String(value);
}
