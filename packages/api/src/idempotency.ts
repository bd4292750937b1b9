import { ControlPlaneError, LIMITS } from "@soulbox/core";
import { HEADERS } from "@soulbox/protocol";
import { canonicalJson } from "./json.ts";
import type { ApiPorts } from "./ports.ts";

const PRINTABLE = /^[\x20-\x7e]+$/;

/**
 * Turns `Idempotency-Key` into core's `once`. The fingerprint covers method, path and body, so
 * that another request under the same key is noticed; the query, which only says how long to wait,
 * may differ.
 *
 * @param body The body as parsed.
 * @returns `undefined` when the request has no key.
 * @throws invalid_request for a key that is empty, too long or not printable ASCII.
 */
export async function onceOf(
  ports: ApiPorts,
  request: Request,
  body: unknown,
): Promise<{ key: string; fingerprint: string } | undefined> {
  const key = request.headers.get(HEADERS.idempotencyKey);
  if (key === null) return undefined;
  if (key.length > LIMITS.idempotencyKeyCharsMax || !PRINTABLE.test(key)) {
    throw new ControlPlaneError(
      "invalid_request",
      `The Idempotency-Key has ${key.length} characters; allowed: 1 to ${LIMITS.idempotencyKeyCharsMax} of printable ASCII.`,
    );
  }
  const { pathname } = new URL(request.url);
  const text = `${request.method}\n${pathname}\n${canonicalJson(body)}`;
  return { key, fingerprint: await ports.sha256(text) };
}
