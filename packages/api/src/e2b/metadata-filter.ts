import { ControlPlaneError, quote } from "@soulbox/core";

/**
 * Reads E2B's `metadata` filter, after the framework has decoded the query once: a query string
 * whose names and values are percent-encoded once more.
 *
 * @throws invalid_request for a percent sign that encodes nothing.
 */
export function parseMetadataFilter(text: string): Record<string, string> {
  const pairs = [...new URLSearchParams(text)].map(
    ([name, value]) => [decoded(name), decoded(value)] as const,
  );
  return Object.fromEntries(pairs);
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new ControlPlaneError("invalid_request", `metadata holds ${quote(text)}.`, {
      hint: "Percent-encode every name and value, then join them as a query string.",
    });
  }
}
