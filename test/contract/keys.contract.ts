import {
  type ApiKey,
  type Cursor,
  epochMs,
  type Keys,
  type Page,
  type Tenant,
} from "@soulbox/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { aTenantId, CREATED_AT_MS } from "./a-sandbox.ts";
import { refuses } from "./refuses.ts";

/** Keys under test. */
export interface KeysHarness {
  readonly keys: Keys;
  /** Opens the same data again as another process would; absent when nothing outlives the keys. */
  reopen?(): Promise<Keys>;
  close(): Promise<void>;
}

/** Registers every promise of the keys port as a test. `open` gives an empty one each time. */
export function keysContract(name: string, open: () => Promise<KeysHarness>): void {
  describe(`Keys contract: ${name}`, () => {
    let harness: KeysHarness;
    let keys: Keys;
    beforeEach(async () => {
      harness = await open();
      keys = harness.keys;
    });
    afterEach(() => harness.close());

    describe("tenants", () => {
      it("come back as they were added", async () => {
        const tenant = aTenant({ name: 'Ada\'s \u{1F680} "lab"\n', sandboxCountMax: 0 });

        await keys.addTenant(tenant);

        expect(await keys.getTenant(tenant.id)).toStrictEqual(tenant);
        expect(await keys.getTenant(aTenantId("acm"))).toBeUndefined();
      });

      it("are refused when the id is taken, and the first stays", async () => {
        const tenant = aTenant();
        await keys.addTenant(tenant);

        for (let round = 0; round < 3; round += 1) {
          await refuses(keys.addTenant({ ...tenant, name: "other" }), "already_exists");
        }

        expect(await keys.getTenant(tenant.id)).toStrictEqual(tenant);
      });

      it("are listed in the order of their creation, in pages of any size", async () => {
        const tenants = ["c", "b", "a", "e", "d"].map((id, index) =>
          aTenant({ id: aTenantId(id), createdAtMs: epochMs(CREATED_AT_MS + (index >> 1)) }),
        );
        for (const tenant of tenants) await keys.addTenant(tenant);

        for (const limit of [1, 2, 5, 1000]) {
          const all = await pagesOf((cursor) => keys.listTenants(cursor, limit), limit);
          expect(all.map(({ id }) => id)).toStrictEqual(["b", "c", "a", "e", "d"]);
        }
      });
    });

    describe("keys", () => {
      it("are found by their hash, with their tenant", async () => {
        const tenant = aTenant();
        const forever = aKey("1", { name: "\u{1F511} ci", scopes: ["sandboxes", "billing"] });
        const brief = aKey("2", { expiresAtMs: CREATED_AT_MS, scopes: [] });
        await keys.addTenant(tenant);
        await keys.addKey(forever);
        await keys.addKey(brief);

        expect(await keys.find(forever.hash)).toStrictEqual({ key: forever, tenant });
        expect(await keys.find(brief.hash)).toStrictEqual({ key: brief, tenant });
        for (const hash of ["", forever.id, `${forever.hash} `, "f".repeat(64), "'--"]) {
          expect(await keys.find(hash)).toBeUndefined();
        }
      });

      it("are refused when the hash is taken, by another tenant too", async () => {
        await keys.addTenant(aTenant());
        await keys.addTenant(aTenant({ id: aTenantId("b") }));
        await keys.addKey(aKey("1"));

        await refuses(keys.addKey(aKey("1", { name: "other" })), "already_exists");
        await refuses(keys.addKey(aKey("1", { tenantId: aTenantId("b") })), "already_exists");

        expect((await keys.find(aKey("1").hash))?.key).toStrictEqual(aKey("1"));
      });

      it("are refused for a tenant that doesn't exist", async () => {
        await refuses(keys.addKey(aKey("1")), "not_found");

        expect(await keys.find(aKey("1").hash)).toBeUndefined();
      });

      it("are removed by their own tenant only, once", async () => {
        const key = aKey("1");
        await keys.addTenant(aTenant());
        await keys.addTenant(aTenant({ id: aTenantId("b") }));
        await keys.addKey(key);

        expect(await keys.removeKey(aTenantId("b"), key.id)).toBe(false);
        expect(await keys.find(key.hash)).toBeDefined();

        expect(await keys.removeKey(key.tenantId, key.id)).toBe(true);
        expect(await keys.removeKey(key.tenantId, key.id)).toBe(false);
        expect(await keys.find(key.hash)).toBeUndefined();

        await keys.addKey(key);
        expect((await keys.find(key.hash))?.key).toStrictEqual(key);
      });

      it("are listed by tenant in the order of their creation, in pages of any size", async () => {
        await keys.addTenant(aTenant());
        await keys.addTenant(aTenant({ id: aTenantId("b") }));
        const mine = ["3", "2", "1", "5", "4"].map((digit, index) =>
          aKey(digit, { createdAtMs: epochMs(CREATED_AT_MS + (index >> 1)) }),
        );
        for (const key of mine) await keys.addKey(key);
        await keys.addKey(aKey("6", { tenantId: aTenantId("b") }));

        for (const limit of [1, 2, 5, 1000]) {
          const list = (cursor: Cursor | undefined) => keys.listKeys(aTenantId(), cursor, limit);
          const all = await pagesOf(list, limit);
          expect(all.map(({ id }) => id[0])).toStrictEqual(["2", "3", "1", "5", "4"]);
        }
        const theirs = await keys.listKeys(aTenantId("b"), undefined, 10);
        expect(theirs.items).toHaveLength(1);
        expect((await keys.listKeys(aTenantId("c"), undefined, 10)).items).toStrictEqual([]);
      });

      it("keep their own copy of what was added", async () => {
        const scopes: ApiKey["scopes"][number][] = ["billing"];
        await keys.addTenant(aTenant());
        await keys.addKey(aKey("1", { scopes }));

        scopes.push("operator");

        expect((await keys.find(aKey("1").hash))?.key.scopes).toStrictEqual(["billing"]);
      });
    });

    it("refuses cursors that aren't its own and impossible page sizes", async () => {
      for (const id of ["a", "b"]) await keys.addTenant(aTenant({ id: aTenantId(id) }));
      for (const digit of ["1", "2"]) await keys.addKey(aKey(digit, { tenantId: aTenantId("a") }));
      const tenants = await keys.listTenants(undefined, 1);
      const mine = await keys.listKeys(aTenantId("a"), undefined, 1);
      expect([tenants.next, mine.next]).not.toContain(undefined);

      const strange = ["", "x", "{}", "\0", "\u{1F600}", "=".repeat(4096)] as Cursor[];
      for (const cursor of [...strange, mine.next]) {
        await refuses(keys.listTenants(cursor as Cursor, 1), "invalid_request");
      }
      for (const cursor of [...strange, tenants.next]) {
        await refuses(keys.listKeys(aTenantId("a"), cursor as Cursor, 1), "invalid_request");
      }
      for (const limit of [0, -1, 1001, 1.5, Number.NaN]) {
        await refuses(keys.listTenants(undefined, limit), "invalid_request");
        await refuses(keys.listKeys(aTenantId("a"), undefined, limit), "invalid_request");
      }
    });

    it("lets exactly one of twenty add a thing", async () => {
      const adds = (add: () => Promise<void>) =>
        Promise.allSettled(Array.from({ length: 20 }, add)).then(
          (results) => results.filter(({ status }) => status === "fulfilled").length,
        );

      expect(await adds(() => keys.addTenant(aTenant()))).toBe(1);
      expect(await adds(() => keys.addKey(aKey("1")))).toBe(1);
    });

    it("keeps everything when it is opened again", async ({ skip }) => {
      if (harness.reopen === undefined) return skip("nothing outlives these keys");
      await keys.addTenant(aTenant());
      await keys.addKey(aKey("1"));

      const again = await harness.reopen();

      expect(await again.find(aKey("1").hash)).toStrictEqual({ key: aKey("1"), tenant: aTenant() });
    });
  });
}

function aTenant(overrides: Partial<Tenant> = {}): Tenant {
  const base = { id: aTenantId(), name: "Acme", sandboxCountMax: 20, createdAtMs: CREATED_AT_MS };
  return { ...base, ...overrides };
}

function aKey(digit: string, overrides: Partial<ApiKey> = {}): ApiKey {
  return {
    id: digit.repeat(12),
    hash: digit.repeat(64),
    tenantId: aTenantId(),
    name: "",
    scopes: ["sandboxes"],
    createdAtMs: CREATED_AT_MS,
    expiresAtMs: undefined,
    ...overrides,
  };
}

async function pagesOf<Item>(
  list: (cursor: Cursor | undefined) => Promise<Page<Item>>,
  limit: number,
): Promise<readonly Item[]> {
  const items: Item[] = [];
  let cursor: Cursor | undefined;
  do {
    const page = await list(cursor);
    expect(page.items.length).toBeLessThanOrEqual(limit);
    items.push(...page.items);
    cursor = page.next;
  } while (cursor !== undefined);
  return items;
}
