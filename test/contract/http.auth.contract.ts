import { SCOPES, type Scope } from "@soulbox/core";
import { describe, expect, it } from "vitest";
import type { HttpTest, Open } from "./http.contract.ts";

/** A route of the document. */
interface Operation {
  readonly method: string;
  readonly path: string;
  readonly scope: Scope | "any";
}

/** A well-formed id that nobody has. */
const FOREIGN_ID = "i99999999999999999999";
const BODIES: Readonly<Record<string, unknown>> = {
  "/v1/sandboxes": {},
  "/v1/sandboxes/{id}/resume": {},
  "/v1/sandboxes/{id}/extend": { lifetimeMs: 60_000 },
  "/v1/sandboxes/{id}/exec": { command: "true" },
  "/v1/keys": { name: "k", scopes: ["keys"] },
  "/v1/tenants": { id: "other", name: "Other", sandboxCountMax: 1 },
};

const E2B_ROUTES = [
  ["GET", "/sandboxes/{id}", "sandboxes:read"],
  ["DELETE", "/sandboxes/{id}", "sandboxes"],
  ["POST", "/sandboxes/{id}/connect", "sandboxes"],
  ["POST", "/v2/sandboxes/{id}/connect", "sandboxes"],
  ["POST", "/sandboxes/{id}/timeout", "sandboxes"],
  ["POST", "/sandboxes/{id}/refreshes", "sandboxes"],
  ["POST", "/sandboxes/{id}/pause", "sandboxes"],
  ["POST", "/sandboxes/{id}/resume", "sandboxes"],
  ["GET", "/sandboxes/{id}/metrics", "sandboxes:read"],
  ["GET", "/sandboxes/{id}/logs", "sandboxes:read"],
  ["GET", "/v2/sandboxes/{id}/logs", "sandboxes:read"],
] as const;

/** Who may do what, and that nobody sees another's things. */
export function authCases(open: Open): void {
  describe("keys", () => {
    it("takes the key as X-API-KEY and as Bearer", async () => {
      const { world, call } = await open();
      const key = await world.key("acme");

      const asHeader = await call("GET", "/v1/sandboxes", { key });
      const asBearer = await call("GET", "/v1/sandboxes", {
        headers: { authorization: `Bearer ${key}` },
      });

      expect([asHeader.status, asBearer.status]).toEqual([200, 200]);
    });

    it.each([
      ["no key", () => ({})],
      ["an unknown key", () => ({ key: `e2b_${"0".repeat(40)}` })],
      ["a huge key", () => ({ key: "x".repeat(4096) })],
      ["another scheme", () => ({ headers: { authorization: "Basic eDp5" } })],
    ])("refuses %s with 401 on both APIs", async (_what, asked) => {
      const { call } = await open();

      const native = await call("GET", "/v1/sandboxes", asked());
      const e2b = await call("GET", "/v2/sandboxes", asked());

      expect(native.json).toMatchObject({ status: 401, code: "unauthenticated" });
      expect(native.headers.get("www-authenticate")).toBe("Bearer");
      expect(e2b.json).toEqual({ code: 401, message: expect.any(String) });
    });

    it("refuses an expired key", async () => {
      const { world, call } = await open();
      const key = await world.key("acme", ["sandboxes"], world.ports.clock.now() - 1);

      expect((await call("GET", "/v1/sandboxes", { key })).json.code).toBe("unauthenticated");
    });

    it("makes a key that works until it is removed, and shows its secret once", async () => {
      const { world, call } = await open();
      const key = await world.key("acme");

      const made = await call("POST", "/v1/keys", {
        key,
        json: { name: "ci", scopes: ["sandboxes:read"] },
      });
      const secret = made.json.secret;
      const works = await call("GET", "/v1/sandboxes", { key: secret });
      const list = await call("GET", "/v1/keys", { key });
      const removed = await call("DELETE", `/v1/keys/${made.json.id}`, { key });
      const again = await call("DELETE", `/v1/keys/${made.json.id}`, { key });
      const after = await call("GET", "/v1/sandboxes", { key: secret });

      expect(made.status).toBe(201);
      expect(secret).toMatch(/^e2b_[0-9a-f]{40}$/);
      expect([works.status, removed.status, again.status, after.status]).toEqual([
        200, 204, 404, 401,
      ]);
      expect(list.json.items).toHaveLength(2);
      expect(list.text).not.toContain(secret);
      expect(list.text).not.toContain("hash");
    });

    it("gives no key more than its maker has, and none to another tenant", async () => {
      const { world, call } = await open();
      await world.key("other");
      const key = await world.key("acme", ["keys", "sandboxes:read"]);
      const operator = await world.key("acme", ["operator"]);
      const ask = (maker: string, extra: object) =>
        call("POST", "/v1/keys", { key: maker, json: { name: "k", ...extra } });

      const more = await ask(key, { scopes: ["sandboxes"] });
      const elsewhere = await ask(key, { scopes: ["sandboxes:read"], tenantId: "other" });
      const byOperator = await ask(operator, { scopes: ["sandboxes"], tenantId: "other" });
      const past = await ask(key, { scopes: ["keys"], expiresAt: "2020-01-01T00:00:00Z" });

      expect(more.json.code).toBe("forbidden");
      expect(elsewhere.json.code).toBe("not_found");
      expect(byOperator.json).toMatchObject({ tenantId: "other" });
      expect(past.json.code).toBe("invalid_request");
    });

    it("lets operators manage tenants, and others see only their own", async () => {
      const { world, call } = await open();
      const key = await world.key("acme");
      const operator = await world.key("ops", ["operator"]);
      const json = { id: "new", name: "New", sandboxCountMax: 3 };

      const made = await call("POST", "/v1/tenants", { key: operator, json });
      const twice = await call("POST", "/v1/tenants", { key: operator, json });
      const list = await call("GET", "/v1/tenants", { key: operator });
      const own = await call("GET", "/v1/tenants/acme", { key });
      const foreign = await call("GET", "/v1/tenants/new", { key });

      expect(made.json).toMatchObject(json);
      expect(twice.json.code).toBe("already_exists");
      expect(list.json.items.map((tenant: { id: string }) => tenant.id)).toContain("new");
      expect([own.status, foreign.status]).toEqual([200, 404]);
    });
  });

  describe("scopes", () => {
    it("opens each route exactly to the scopes that its document names", async () => {
      const test = await open();
      const keys = new Map<Scope, string>();
      for (const scope of SCOPES) keys.set(scope, await test.world.key("acme", [scope]));
      const wrong: string[] = [];

      for (const { method, path, scope } of [...(await operations(test)), ...e2bOperations()]) {
        for (const [has, key] of keys) {
          const { status } = await test.call(
            method,
            at(path, FOREIGN_ID),
            bodyFor(method, path, key),
          );
          if ((status !== 403) !== covers(has, scope)) {
            wrong.push(`${has} at ${method} ${path}: ${status}`);
          }
        }
      }

      expect(wrong).toEqual([]);
    });
  });

  describe("tenants", () => {
    it("answers 404 on every route for another's id, word for word as for an unknown one", async () => {
      const test = await open();
      const owner = await test.world.key("acme");
      const key = await test.world.key("other");
      const made = await test.call("POST", "/v1/sandboxes", { key: owner, json: {} });
      const ownersKey = (await test.call("GET", "/v1/keys", { key: owner })).json.items[0].id;
      const wrong: string[] = [];

      const routes = [...(await operations(test)), ...e2bOperations()].filter(({ path }) =>
        path.includes("{id}"),
      );
      for (const { method, path } of routes) {
        const foreign = idFor(path, made.json.id, ownersKey, "acme");
        const unknown = idFor(path, FOREIGN_ID, "0123456789ab", "nobody");
        const seen = await test.call(method, at(path, foreign), bodyFor(method, path, key));
        const none = await test.call(method, at(path, unknown), bodyFor(method, path, key));
        const isSame = plain(seen.text, foreign) === plain(none.text, unknown);
        if (seen.status !== 404 || !isSame) wrong.push(`${method} ${path}: ${seen.text}`);
      }
      const listed = await test.call("GET", "/v1/sandboxes", { key });
      const ledger = await test.call("GET", `/v1/ledger?sandboxId=${made.json.id}`, { key });
      const still = await test.call("GET", `/v1/sandboxes/${made.json.id}`, { key: owner });

      expect(wrong).toEqual([]);
      expect(routes.length).toBeGreaterThan(20);
      expect(listed.json.items).toEqual([]);
      expect(ledger.status).toBe(404);
      expect(still.json.state).toBe("running");
    });
  });
}

async function operations({ call }: HttpTest): Promise<readonly Operation[]> {
  const { paths } = (await call("GET", "/openapi.json")).json;
  return Object.entries<Record<string, Record<string, Scope>>>(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({
      method: method.toUpperCase(),
      path,
      scope: operation["x-soulbox-scope"] ?? "any",
    })),
  );
}

function e2bOperations(): readonly Operation[] {
  return E2B_ROUTES.map(([method, path, scope]) => ({ method, path, scope }));
}

function covers(has: Scope, wanted: Scope | "any"): boolean {
  if (wanted === "any" || has === wanted || has === "operator") return true;
  return wanted === "sandboxes:read" && has === "sandboxes";
}

function at(path: string, id: string): string {
  const query = path.endsWith("/files") ? "?path=a" : "";
  return path.replace("{id}", id) + query;
}

function idFor(path: string, sandbox: string, key: string, tenant: string): string {
  if (path.startsWith("/v1/keys")) return key;
  return path.startsWith("/v1/tenants") ? tenant : sandbox;
}

function bodyFor(method: string, path: string, key: string) {
  const json = path.endsWith("/timeout") ? { timeout: 9 } : BODIES[path];
  return method === "GET" || json === undefined ? { key } : { key, json };
}

function plain(text: string, id: string): string {
  return text.replaceAll(id, "ID").replace(/req_\d+/, "REQUEST");
}
