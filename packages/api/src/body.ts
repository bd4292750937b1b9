import { ControlPlaneError } from "@soulbox/core";
import type { MiddlewareHandler } from "hono";
import type { z } from "zod";
import type { ApiEnv } from "./env.ts";
import { invalidError } from "./invalid.ts";
import { parseJson } from "./json.ts";

/** Largest JSON body: variables and metadata at their limits fit more than ten times. */
export const BODY_BYTES_MAX = 1024 * 1024;

const JSON_TYPE = /^application\/json *(;|$)/i;

/**
 * Checks the size and form of a JSON body before anything else reads it. An absent body counts as
 * `{}`.
 *
 * @throws payload_too_large above {@link BODY_BYTES_MAX}; invalid_request for another content
 *   type, for bytes that are no UTF-8, and as `parseJson` says.
 */
export function jsonBody(): MiddlewareHandler<ApiEnv> {
  return async (c, next) => {
    const { text } = await readJson(c.req.raw);
    const { url, method, signal } = c.req.raw;
    const headers = new Headers(c.req.raw.headers);
    headers.set("content-type", "application/json");
    headers.delete("content-length");
    c.req.raw = new Request(url, { method, headers, signal, body: text });
    await next();
  };
}

/** Reads a JSON body and checks it against `schema`. Errors as {@link jsonBody}. */
export async function readBody<Schema extends z.ZodType>(
  request: Request,
  schema: Schema,
): Promise<z.output<Schema>> {
  const { value } = await readJson(request);
  const parsed = schema.safeParse(value);
  if (!parsed.success) throw invalidError("body", parsed.error, value);
  return parsed.data;
}

async function readJson(request: Request): Promise<{ text: string; value: unknown }> {
  const text = await readText(request, BODY_BYTES_MAX);
  if (text.trim() === "") return { text: "{}", value: {} };
  const type = request.headers.get("content-type") ?? "";
  if (!JSON_TYPE.test(type)) {
    throw new ControlPlaneError("invalid_request", "The body must be JSON.", {
      hint: "Send the header Content-Type: application/json.",
    });
  }
  return { text, value: parseJson(text) };
}

async function readText(request: Request, bytesMax: number): Promise<string> {
  if (Number(request.headers.get("content-length") ?? 0) > bytesMax) throw tooLarge(bytesMax);
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of chunksOf(request)) {
    bytes += chunk.byteLength;
    if (bytes > bytesMax) throw tooLarge(bytesMax);
    chunks.push(chunk);
  }
  const decoder = new TextDecoder("utf-8", { fatal: true });
  try {
    const text = chunks.map((chunk) => decoder.decode(chunk, { stream: true })).join("");
    return text + decoder.decode();
  } catch (error) {
    throw new ControlPlaneError("invalid_request", "The body is not UTF-8.", { cause: error });
  }
}

async function* chunksOf(request: Request): AsyncGenerator<Uint8Array> {
  const reader = request.body?.getReader();
  if (reader === undefined) return;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } catch (error) {
    throw new ControlPlaneError("invalid_request", "The body could not be read to its end.", {
      cause: error,
    });
  } finally {
    reader.cancel().catch(() => undefined);
  }
}

function tooLarge(bytesMax: number): ControlPlaneError {
  return new ControlPlaneError(
    "payload_too_large",
    `The body is larger than the ${bytesMax} bytes that are allowed here.`,
    { details: { bytesMax } },
  );
}
