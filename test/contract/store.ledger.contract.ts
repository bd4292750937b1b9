import {
  type Cursor,
  type EntryId,
  type EntryQuery,
  epochMs,
  type LedgerEntry,
  type NanoUsd,
  type Sandbox,
  type Store,
} from "@soulbox/core";
import { describe, expect, it } from "vitest";
import {
  aClosing,
  anOpening,
  aSandbox,
  aTenantId,
  CREATED_AT_MS,
  creationOf,
  moved,
  moveOf,
} from "./a-sandbox.ts";
import { refuses } from "./refuses.ts";

const ALL: EntryQuery = { tenantId: undefined, cursor: undefined, limit: 1000 };
const at = (ms: number) => epochMs(CREATED_AT_MS + ms);

/** Registers what the ledger promises: entries are written once and listed in their order. */
export function storeLedger(current: () => Store): void {
  const post = (row: Sandbox, ...entries: readonly LedgerEntry[]) =>
    current().commit(creationOf(row, { entries }));
  const list = async (query: Partial<EntryQuery>) =>
    (await current().entries({ ...ALL, ...query })).items;

  describe("entries", () => {
    it("come back as they were posted, money to the last digit", async () => {
      const row = aSandbox();
      const adjustment: LedgerEntry = {
        id: `${row.id}-1-1-adjust` as EntryId,
        kind: "adjust",
        sandboxId: row.id,
        tenantId: row.tenantId,
        atMs: at(70_000),
        incarnation: 1,
        interval: 1,
        corrects: aClosing(row).id,
        amount: -9_007_199_254_740_993n as NanoUsd,
        why: "double \u{1F600} 'charge'\n",
      };
      const entries = [anOpening(row), aClosing(row), adjustment];

      await post(row, ...entries);

      expect(await current().entries(ALL)).toStrictEqual({ items: entries, next: undefined });
    });

    it("are accepted again with the same content, and listed once", async () => {
      const row = aSandbox();
      await post(row, anOpening(row), anOpening(row));

      let before = row;
      for (let round = 0; round < 3; round += 1) {
        const after = moved(before);
        await current().commit(moveOf(before, after, { entries: [anOpening(row), aClosing(row)] }));
        before = after;
      }

      expect(await list({})).toStrictEqual([anOpening(row), aClosing(row)]);
    });

    it("are refused under an id that exists with other content", async () => {
      const row = aSandbox();
      await post(row, aClosing(row));
      const others: readonly Partial<LedgerEntry>[] = [
        { amount: 1n as NanoUsd },
        { atMs: at(1) },
        { kind: "open" },
        { tenantId: aTenantId("b") },
      ];

      for (const other of others) {
        const entries = [{ ...anOpening(row), ...aClosing(row), ...other } as LedgerEntry];
        await refuses(current().commit(moveOf(row, moved(row), { entries })), "invalid_request");
      }
      const twice = [anOpening(row), anOpening(row, { atMs: at(1) })];
      await refuses(
        current().commit(moveOf(row, moved(row), { entries: twice })),
        "invalid_request",
      );

      expect(await list({})).toStrictEqual([aClosing(row)]);
    });

    it("are listed oldest first, those of one instant by id", async () => {
      const [first, second, third] = [aSandbox(), aSandbox(), aSandbox()];
      await post(third, anOpening(third, { atMs: at(2) }));
      await post(second, anOpening(second, { atMs: at(2) }), aClosing(second, { atMs: at(3) }));
      await post(first, anOpening(first, { atMs: at(1) }));

      expect((await list({})).map(({ id }) => id)).toStrictEqual([
        anOpening(first).id,
        anOpening(second).id,
        anOpening(third).id,
        aClosing(second).id,
      ]);
    });

    it("are listed by tenant, by sandbox and by both", async () => {
      const mine = aSandbox({ tenantId: aTenantId("a") });
      const alsoMine = aSandbox({ tenantId: aTenantId("a") });
      const theirs = aSandbox({ tenantId: aTenantId("a-b") });
      for (const row of [mine, alsoMine, theirs]) await post(row, anOpening(row));
      const ids = async (query: Partial<EntryQuery>) =>
        (await list(query)).map(({ sandboxId }) => sandboxId);

      expect(await ids({ tenantId: mine.tenantId })).toStrictEqual([mine.id, alsoMine.id]);
      expect(await ids({ sandboxId: theirs.id })).toStrictEqual([theirs.id]);
      expect(await ids({ tenantId: mine.tenantId, sandboxId: mine.id })).toStrictEqual([mine.id]);
      expect(await ids({ tenantId: mine.tenantId, sandboxId: theirs.id })).toStrictEqual([]);
    });

    it("are listed from an instant on and before another", async () => {
      const row = aSandbox();
      const entries = [0, 1, 2, 3].map((ms) =>
        anOpening(row, { id: `${row.id}-1-${ms + 1}-open` as EntryId, atMs: at(ms) }),
      );
      await post(row, ...entries);

      for (const filter of [{}, { tenantId: row.tenantId }, { sandboxId: row.id }]) {
        const [, one, two, three] = entries;
        expect(await list({ ...filter, fromMs: at(1), untilMs: at(3) })).toStrictEqual([one, two]);
        expect(await list({ ...filter, fromMs: at(3) })).toStrictEqual([three]);
        expect(await list({ ...filter, untilMs: at(0) })).toStrictEqual([]);
        expect(await list({ ...filter, fromMs: at(2), untilMs: at(2) })).toStrictEqual([]);
      }
    });

    it("are covered once by pages of any size, also while others are posted", async () => {
      const rows = Array.from({ length: 7 }, (_, index) =>
        aSandbox({ createdAtMs: at(Math.floor(index / 3) * 10) }),
      );
      for (const row of rows) await post(row, anOpening(row), aClosing(row));
      const whole = await list({});
      expect(whole).toHaveLength(14);

      for (const limit of [1, 3, 14, 1000]) {
        expect(await pagesOf(current(), { ...ALL, limit })).toStrictEqual(whole);
        const window = {
          ...ALL,
          limit,
          tenantId: aTenantId(),
          fromMs: at(910),
          untilMs: at(60_910),
        };
        expect(await pagesOf(current(), window)).toStrictEqual(
          whole.filter(({ atMs }) => atMs >= at(910) && atMs < at(60_910)),
        );
      }

      const first = await current().entries({ ...ALL, limit: 5 });
      const late = aSandbox({ createdAtMs: at(5) });
      await post(late, anOpening(late), aClosing(late));
      const rest = await pagesOf(current(), { ...ALL, limit: 5, cursor: first.next });
      const seen = [...first.items, ...rest].filter(({ sandboxId }) => sandboxId !== late.id);
      expect(seen).toStrictEqual(whole);
    });
  });
}

async function pagesOf(store: Store, query: EntryQuery): Promise<readonly LedgerEntry[]> {
  const entries: LedgerEntry[] = [];
  let cursor: Cursor | undefined = query.cursor;
  do {
    const page = await store.entries({ ...query, cursor });
    expect(page.items.length).toBeLessThanOrEqual(query.limit);
    entries.push(...page.items);
    cursor = page.next;
  } while (cursor !== undefined);
  return entries;
}
