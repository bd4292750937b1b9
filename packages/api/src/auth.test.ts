import { type ApiKey, type Caller, epochMs, SCOPES, type Scope, type Tenant } from "@soulbox/core";
import { describe, expect, it } from "vitest";
import { authenticate, isAllowed } from "./auth.ts";
import { aSandbox, fakePorts, NOW_MS } from "./fakes.ts";

const { tenantId } = aSandbox();
const TENANT: Tenant = { id: tenantId, name: "Acme", sandboxCountMax: 3, createdAtMs: NOW_MS };
const KEY: ApiKey = {
  id: "0123456789ab",
  hash: "hash of secret",
  tenantId,
  name: "ci",
  scopes: ["billing"],
  createdAtMs: NOW_MS,
  expiresAtMs: undefined,
};

function portsWith(key: ApiKey) {
  const find = async (hash: string) => (hash === key.hash ? { key, tenant: TENANT } : undefined);
  return fakePorts({ keys: { find } });
}

function caller(...scopes: Scope[]): Caller {
  return { tenantId, scopes: new Set(scopes), sandboxCountMax: 1 };
}

describe("authenticate", () => {
  it.each([
    { "x-api-key": "secret" },
    { "X-API-KEY": " secret " },
    { authorization: "Bearer secret" },
    { authorization: "bearer  secret " },
    { "x-api-key": "", authorization: "Bearer secret" },
  ])("knows the caller by %o", async (headers) => {
    expect(await authenticate(portsWith(KEY), new Headers(headers))).toEqual({
      tenantId,
      scopes: new Set(["billing"]),
      sandboxCountMax: 3,
    });
  });

  it("prefers X-API-KEY, and never falls back from a wrong one", async () => {
    const headers = new Headers({ "x-api-key": "wrong", authorization: "Bearer secret" });

    await expect(authenticate(portsWith(KEY), headers)).rejects.toMatchObject({
      code: "unauthenticated",
    });
  });

  it("takes a key until the instant of its expiry", async () => {
    const headers = new Headers({ "x-api-key": "secret" });
    const until = (ms: number) => portsWith({ ...KEY, expiresAtMs: epochMs(ms) });

    await expect(authenticate(until(NOW_MS + 1), headers)).resolves.toBeDefined();
    await expect(authenticate(until(NOW_MS), headers)).rejects.toMatchObject({
      code: "unauthenticated",
    });
  });
});

describe("isAllowed", () => {
  it.each([
    ["sandboxes", ["sandboxes", "sandboxes:read"]],
    ["sandboxes:read", ["sandboxes:read"]],
    ["billing", ["billing"]],
    ["keys", ["keys"]],
    ["operator", [...SCOPES]],
  ] as const)("lets %s do %j and no more", (scope, covered) => {
    expect(SCOPES.filter((wanted) => isAllowed(caller(scope), wanted)).sort()).toEqual(
      [...covered].sort(),
    );
  });

  it("lets a key without scopes do nothing", () => {
    expect(SCOPES.some((scope) => isAllowed(caller(), scope))).toBe(false);
  });
});
