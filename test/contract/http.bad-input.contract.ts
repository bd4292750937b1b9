import { describe, expect, it } from "vitest";
import type { Asked, Open } from "./http.contract.ts";

const JSON_TYPE = { "content-type": "application/json" };
const raw = (body: string | Uint8Array<ArrayBuffer>): Asked => ({ body, headers: JSON_TYPE });

const BODIES: readonly (readonly [what: string, asked: Asked, code: string, detail: RegExp])[] = [
  ["malformed JSON", raw('{"template": base}'), "invalid_request", /not valid JSON/],
  ["cut JSON", raw('{"template": "ba'), "invalid_request", /not valid JSON/],
  ["a list", { json: [] }, "invalid_request", /body is a list; allowed: an object/],
  ["null", raw("null"), "invalid_request", /body is null/],
  ["an unknown field", { json: { tmplate: "x" } }, "invalid_request", /tmplate is an unknown/],
  [
    "a wrong type",
    { json: { lifetimeMs: "1" } },
    "invalid_request",
    /lifetimeMs is "1".*whole number/,
  ],
  [
    "a duplicate",
    raw('{"secure":true,"secure":false}'),
    "invalid_request",
    /"secure" occurs twice/,
  ],
  ["a hidden duplicate", raw('{"secure":true,"\\u0073ecure":false}'), "invalid_request", /twice/],
  ["__proto__", raw('{"metadata":{"__proto__":"x"}}'), "invalid_request", /__proto__/],
  ["half a surrogate", raw('{"template":"\\ud800"}'), "invalid_request", /surrogate/],
  ["bytes that are no UTF-8", raw(new Uint8Array([0x22, 0xff, 0x22])), "invalid_request", /UTF-8/],
  [
    "another type",
    { body: "a=b", headers: { "content-type": "text/plain" } },
    "invalid_request",
    /JSON/,
  ],
  ["deep JSON", raw("[".repeat(100) + "]".repeat(100)), "invalid_request", /deeper than 64/],
  ["very deep JSON", raw("[".repeat(400_000) + "]".repeat(400_000)), "invalid_request", /deeper/],
  ["more than 1 MiB", raw(JSON.stringify("x".repeat(1024 * 1024))), "payload_too_large", /1048576/],
  ["a lifetime of 0", { json: { lifetimeMs: 0 } }, "invalid_request", /lifetimeMs is 0/],
  ["a negative lifetime", { json: { lifetimeMs: -5 } }, "invalid_request", /lifetimeMs is -5/],
  ["a fraction", { json: { lifetimeMs: 1.5 } }, "invalid_request", /lifetimeMs is 1.5/],
  ["ten years", { json: { lifetimeMs: 315_576_000_000 } }, "invalid_request", /lifetimeMs is 3155/],
  ["infinity", raw('{"lifetimeMs":1e999}'), "invalid_request", /lifetimeMs is Infinity/],
  ["no memory", { json: { resources: { memoryMib: 0 } } }, "invalid_request", /memoryMib is 0/],
  ["a huge CPU", { json: { resources: { cpuMilli: 1e12 } } }, "invalid_request", /cpuMilli/],
  ["NUL in env", { json: { env: { A: "a\0b" } } }, "invalid_request", /variable "A"/],
  ["huge env", { json: { env: { A: "x".repeat(70_000) } } }, "invalid_request", /env holds/],
  ["an unknown provider", { json: { place: { provider: "mars" } } }, "invalid_request", /"mars"/],
  ["an unknown template", { json: { template: "../etc" } }, "not_found", /"..\/etc"/],
  ["an empty template", { json: { template: "" } }, "invalid_request", /template/],
  ["an empty key", { json: {}, headers: { "idempotency-key": "" } }, "invalid_request", /0 char/],
  [
    "a long idempotency key",
    { json: {}, headers: { "idempotency-key": "k".repeat(256) } },
    "invalid_request",
    /256 characters/,
  ],
];

const QUERIES = [
  ["/v1/sandboxes?limit=0", /limit is "0".*1 to 100/],
  ["/v1/sandboxes?limit=-1", /limit is "-1"/],
  ["/v1/sandboxes?limit=NaN", /limit is "NaN"/],
  ["/v1/sandboxes?limit=1e2", /limit is "1e2"/],
  ["/v1/sandboxes?limit=101", /limit is "101"/],
  ["/v1/sandboxes?limit=99999999999999999999", /limit is/],
  ["/v1/sandboxes?limit=1&limit=2", /limit is a list/],
  ["/v1/sandboxes?state=runing", /state.*"running"/],
  ["/v1/sandboxes?order=up", /order is "up"/],
  ["/v1/sandboxes?createdFrom=yesterday", /createdFrom/],
  ["/v1/sandboxes?colour=red", /"colour"/],
  ["/v1/sandboxes?metadata.=x", /"metadata\."/],
  ["/v1/sandboxes?cursor=%00", /./],
  ["/v1/sandboxes/i00000000000000000000?wait=61", /wait is "61".*0 to 60/],
  ["/v1/usage?from=2026-02-01T00:00:00Z&until=2026-01-01T00:00:00Z", /not before/],
  ["/v1/ledger?from=1", /from is "1"/],
] as const;

const IDS: readonly (readonly [what: string, id: string])[] = [
  ["dots and slashes", "..%2f..%2fetc"],
  ["encoded dots", "%2e%2e%2f"],
  ["NUL", "i0000000000000000000%00"],
  ["a newline", "i0000000000000000000%0a"],
  ["capitals", "I00000000000000000000"],
  ["a launch id", "i0000000000000000000-1"],
  ["bytes that are no UTF-8", "%ff%fe"],
  ["4 KB", "a".repeat(4096)],
  ["symbols", "%F0%9F%92%A9".repeat(20)],
];

/** What a clear refusal looks like, for everything that isn't right. */
export function badInputCases(open: Open): void {
  describe("bad input", () => {
    it.each(BODIES)("refuses %s at create", async (_what, asked, code, detail) => {
      const { world, call } = await open();
      const key = await world.key("acme");

      const { json, headers } = await call("POST", "/v1/sandboxes", { ...asked, key });

      expect(headers.get("content-type")).toContain("application/problem+json");
      expect(json).toMatchObject({ code, retryable: false, instance: "/v1/sandboxes" });
      expect(json.detail).toMatch(detail);
      expect(world.provider.vendor.launched).toBe(0);
    });

    it.each(QUERIES)("refuses %s", async (path, detail) => {
      const { world, call } = await open();

      const { json } = await call("GET", path, { key: await world.key("acme") });

      expect(json.code).toBe("invalid_request");
      expect(json.detail).toMatch(detail);
    });

    it.each(IDS)("finds nothing under an id of %s", async (_what, id) => {
      const { world, call } = await open();
      const key = await world.key("acme");

      const native = await call("GET", `/v1/sandboxes/${id}`, { key });
      const e2b = await call("GET", `/sandboxes/${id}`, { key });

      expect([native.status, e2b.status]).toEqual([404, 404]);
      expect(native.text.length).toBeLessThan(1500);
    });

    it("names the fields that are wrong, and no values that may be secret", async () => {
      const { world, call } = await open();
      const key = await world.key("acme");

      const { json, text } = await call("POST", "/v1/sandboxes", {
        key,
        json: { env: { TOKEN: 123456 }, secure: "yes", resources: { cpu: 1 } },
      });

      expect(json.details.issues).toEqual(
        expect.arrayContaining([
          { field: "env.TOKEN", found: "a number", allowed: "a string" },
          { field: "secure", found: '"yes"', allowed: "true or false" },
          {
            field: "resources.cpu",
            found: "an unknown field",
            allowed: "cpuMilli, memoryMib, diskMib",
          },
        ]),
      );
      expect(text).not.toContain("123456");
    });

    it("answers an unknown path with 404 and a wrong method with 405, each API in its words", async () => {
      const { call } = await open();

      const path = await call("GET", "/v1/nothing");
      const method = await call("PUT", "/v1/sandboxes");
      const e2bPath = await call("GET", "/nothing");
      const e2bMethod = await call("PATCH", "/sandboxes/x/pause");

      expect(path.json).toMatchObject({ status: 404, code: "not_found" });
      expect(method.json).toMatchObject({ status: 405, code: "invalid_request" });
      expect(method.headers.get("allow")).toBe("GET, POST");
      expect(e2bPath.json).toEqual({ code: 404, message: expect.any(String) });
      expect(e2bMethod.json).toEqual({ code: 405, message: expect.any(String) });
      expect(e2bMethod.headers.get("allow")).toBe("POST");
    });

    it("tells nothing about an error that nobody expected, but logs it under the request's id", async () => {
      const { world, call } = await open();
      const key = await world.key("acme");
      world.ports.keys.find = async () => {
        throw new Error("password=hunter2");
      };

      const { json, text, headers } = await call("GET", "/v1/sandboxes", {
        key,
        headers: { "x-request-id": "mine-1" },
      });

      expect(json).toMatchObject({ status: 500, code: "internal", requestId: "mine-1" });
      expect(headers.get("x-request-id")).toBe("mine-1");
      expect(text).not.toContain("hunter2");
      expect(world.logged).toContainEqual(
        expect.objectContaining({
          event: "request.failed",
          fields: expect.objectContaining({ requestId: "mine-1" }),
        }),
      );
    });
  });
}
