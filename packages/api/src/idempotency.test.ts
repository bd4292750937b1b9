import { describe, expect, it } from "vitest";
import { fakePorts } from "./fakes.ts";
import { onceOf } from "./idempotency.ts";

const ports = fakePorts();

function request(key: string | undefined, url = "http://x/v1/sandboxes"): Request {
  const headers: Record<string, string> = key === undefined ? {} : { "idempotency-key": key };
  return new Request(url, { method: "POST", headers });
}

describe("onceOf", () => {
  it("is undefined without a key", async () => {
    expect(await onceOf(ports, request(undefined), {})).toBeUndefined();
  });

  it("covers method, path and body, but not the query", async () => {
    const base = await onceOf(ports, request("k"), { a: 1, b: 2 });
    const query = await onceOf(ports, request("k", "http://y/v1/sandboxes?wait=3"), { b: 2, a: 1 });
    const path = await onceOf(ports, request("k", "http://x/sandboxes"), { a: 1, b: 2 });
    const body = await onceOf(ports, request("k"), { a: 1, b: 3 });

    expect(base).toEqual({ key: "k", fingerprint: expect.stringContaining("POST") });
    expect(query).toEqual(base);
    expect(path?.fingerprint).not.toBe(base?.fingerprint);
    expect(body?.fingerprint).not.toBe(base?.fingerprint);
  });

  it.each(["", "k".repeat(256), "k\u00e9"])("refuses the key %s", async (key) => {
    await expect(onceOf(ports, request(key), {})).rejects.toMatchObject({
      code: "invalid_request",
    });
  });
});
