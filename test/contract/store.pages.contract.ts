import {
  type Cursor,
  epochMs,
  type ListQuery,
  type Sandbox,
  type SandboxId,
  type Store,
} from "@soulbox/core";
import { STATES } from "@soulbox/protocol";
import { describe, expect, it } from "vitest";
import {
  aClosing,
  aMarked,
  anOpening,
  aPlace,
  aSandbox,
  aTenantId,
  CREATED_AT_MS,
  creationOf,
  moved,
  moveOf,
} from "./a-sandbox.ts";
import { refuses } from "./refuses.ts";

const ALL: ListQuery = { tenantId: undefined, states: undefined, cursor: undefined, limit: 1000 };
const at = (ms: number) => epochMs(CREATED_AT_MS + ms);

/** Registers what pages of a list promise: each row once, in order, with cursors that are checked. */
export function storePages(current: () => Store): void {
  const put = async (rows: readonly Sandbox[]): Promise<readonly SandboxId[]> => {
    for (const row of rows) await current().commit(creationOf(row));
    return rows.map(({ id }) => id);
  };

  describe("pages", () => {
    const manyRows = () =>
      Array.from({ length: 23 }, (_, index) =>
        aMarked(
          { parity: String(index % 2) },
          {
            tenantId: aTenantId(index % 3 === 0 ? "a" : "b"),
            createdAtMs: at(Math.floor(index / 4)),
            state: STATES[index % STATES.length] ?? "running",
          },
        ),
      );

    it.each(["asc", "desc"] as const)("cover every row once, in order, %s", async (order) => {
      await put(manyRows());
      const filters: readonly Partial<ListQuery>[] = [
        {},
        { tenantId: aTenantId("a") },
        { states: ["running", "pending", "failed"] },
        { tenantId: aTenantId("b"), states: ["running", "paused"] },
        { metadata: { parity: "1" } },
        { place: aPlace(), createdFromMs: at(2) },
      ];

      for (const filter of filters) {
        const { items } = await current().list({ ...ALL, ...filter, order });
        const whole = items.map(({ id }) => id);
        expect(whole.length).toBeGreaterThan(2);
        for (const limit of [1, 2, 7, whole.length, 1000]) {
          expect(await pagesOf(current(), { ...ALL, ...filter, order, limit })).toStrictEqual(
            whole,
          );
        }
      }
    });

    it.each(["asc", "desc"] as const)(
      "neither repeat nor hide a row when others are created and moved in between, %s",
      async (order) => {
        const old = [10, 20, 30, 40].map((ms) => aSandbox({ createdAtMs: at(ms) }));
        const ids = await put(old);
        const first = await current().list({ ...ALL, order, limit: 2 });

        await put([5, 10, 25, 30, 50].map((ms) => aSandbox({ createdAtMs: at(ms) })));
        for (const row of old) {
          await current().commit(moveOf(row, moved(row, { state: "pausing", dueAtMs: at(1) })));
        }
        const seen = first.items.map(({ id }) => id);
        const rest = { ...ALL, order, limit: 2, cursor: first.next };
        seen.push(...(await pagesOf(current(), rest)));

        expect(new Set(seen).size).toBe(seen.length);
        const expected = order === "asc" ? ids : [...ids].reverse();
        expect(seen.filter((id) => ids.includes(id))).toStrictEqual(expected);
      },
    );

    it("refuse a cursor that isn't theirs", async () => {
      const rows = manyRows();
      await put(rows);
      const [row = aSandbox()] = rows;
      await current().commit(moveOf(row, moved(row), { entries: [anOpening(row), aClosing(row)] }));
      const lists = await current().list({ ...ALL, limit: 1 });
      const entries = await current().entries({ tenantId: undefined, cursor: undefined, limit: 1 });
      expect(lists.next).toBeDefined();
      expect(entries.next).toBeDefined();

      const strange = [
        "",
        "x",
        "null",
        "{}",
        "0",
        "\0",
        "a\nb",
        "\u{1F600}",
        "../..",
        "=".repeat(4096),
      ];

      for (const text of [...strange, `${lists.next} `, `${lists.next}0`.repeat(9), entries.next]) {
        await refuses(current().list({ ...ALL, cursor: text as Cursor }), "invalid_request");
      }
      for (const text of [...strange, lists.next]) {
        const query = { tenantId: undefined, cursor: text as Cursor, limit: 1 };
        await refuses(current().entries(query), "invalid_request");
      }
      const turned = current().list({ ...ALL, order: "asc", cursor: lists.next });
      await refuses(turned, "invalid_request");
    });

    it.each([0, -1, 1001, 1.5, Number.NaN, Number.POSITIVE_INFINITY])(
      "refuse to hold %d items",
      async (limit) => {
        const query = { tenantId: undefined, cursor: undefined, limit };
        await refuses(current().list({ ...ALL, limit }), "invalid_request");
        await refuses(current().entries(query), "invalid_request");
        await refuses(current().due("expiry", CREATED_AT_MS, limit), "invalid_request");
      },
    );
  });
}

async function pagesOf(store: Store, query: ListQuery): Promise<readonly SandboxId[]> {
  const ids: SandboxId[] = [];
  let cursor = query.cursor;
  do {
    const page = await store.list({ ...query, cursor });
    expect(page.items.length).toBeLessThanOrEqual(query.limit);
    ids.push(...page.items.map(({ id }) => id));
    cursor = page.next;
  } while (cursor !== undefined);
  return ids;
}
