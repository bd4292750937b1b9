import { epochMs, hasCode, type Store } from "@soulbox/core";
import { describe, expect, it } from "vitest";
import {
  anOnce,
  aSandbox,
  aTenantId,
  CREATED_AT_MS,
  creationOf,
  moved,
  moveOf,
} from "./a-sandbox.ts";
import { refuses } from "./refuses.ts";

/** Registers what counters, idempotency keys and races promise. */
export function storeWrites(current: () => Store): void {
  describe("counters", () => {
    const move = (add: 1 | -1, max: number, counter = "live") =>
      current().commit(creationOf(aSandbox(), { counters: [{ counter, add, max }] }));

    it("counts to its max and no further", async () => {
      const store = current();
      await move(1, 2);
      await move(1, 2);
      await refuses(move(1, 2), "quota_exceeded");

      expect(await store.counters()).toStrictEqual(new Map([["live", 2]]));
    });

    it("has room again after a move down", async () => {
      const store = current();
      await move(1, 1);
      await move(-1, 1);
      await move(1, 1);

      expect(await store.counters()).toStrictEqual(new Map([["live", 1]]));
    });

    it("looks at the max only when it adds", async () => {
      const store = current();
      await move(1, 2);
      await move(1, 2);
      await move(-1, 0);

      expect(await store.counters()).toStrictEqual(new Map([["live", 1]]));
    });

    it("never falls below 0 and doesn't list what is 0", async () => {
      const store = current();
      await move(-1, 5);
      await move(1, 5, "other");
      await move(-1, 5, "other");
      expect(await store.counters()).toStrictEqual(new Map());

      await move(1, 5);
      expect(await store.counters()).toStrictEqual(new Map([["live", 1]]));
    });

    it("keeps counters of odd names apart", async () => {
      const store = current();
      await move(1, 1, "tenant/a b");
      await move(1, 1, "tenant/a.b'\"");

      expect((await store.counters()).size).toBe(2);
    });
  });

  describe("once", () => {
    it("recalls which sandbox a key stands for, and for which request", async () => {
      const store = current();
      const row = aSandbox();
      await store.commit(creationOf(row, { once: anOnce({ key: "k \u{1F600}'\"" }) }));

      const record = await store.recall(row.tenantId, "k \u{1F600}'\"", CREATED_AT_MS);

      expect(record).toStrictEqual({ fingerprint: "print", id: row.id });
    });

    it("keeps the keys of tenants apart", async () => {
      const store = current();
      const mine = aSandbox({ tenantId: aTenantId("a") });
      const theirs = aSandbox({ tenantId: aTenantId("b") });
      await store.commit(creationOf(mine, { once: anOnce({ fingerprint: "mine" }) }));

      expect(await store.recall(theirs.tenantId, "key", CREATED_AT_MS)).toBeUndefined();
      await store.commit(creationOf(theirs, { once: anOnce({ fingerprint: "theirs" }) }));

      expect((await store.recall(mine.tenantId, "key", CREATED_AT_MS))?.id).toBe(mine.id);
      expect((await store.recall(theirs.tenantId, "key", CREATED_AT_MS))?.id).toBe(theirs.id);
    });

    it("answers the first request's record to every later one", async () => {
      const store = current();
      const first = aSandbox();
      await store.commit(creationOf(first, { once: anOnce({ fingerprint: "first" }) }));

      for (const fingerprint of ["first", "second", "third"]) {
        const repeat = store.commit(creationOf(aSandbox(), { once: anOnce({ fingerprint }) }));
        await refuses(repeat, "already_exists");
      }

      const record = await store.recall(first.tenantId, "key", CREATED_AT_MS);
      expect(record).toStrictEqual({ fingerprint: "first", id: first.id });
    });

    it("calls a repeat a repeat even when the tenant's quota is used up", async () => {
      const store = current();
      const parts = { once: anOnce(), counters: [{ counter: "live", add: 1, max: 1 }] as const };
      await store.commit(creationOf(aSandbox(), parts));

      await refuses(store.commit(creationOf(aSandbox(), parts)), "already_exists");
    });

    it("forgets a key after its time, and lets it be used again", async () => {
      const store = current();
      const keepUntilMs = epochMs(CREATED_AT_MS + 1000);
      const late = aSandbox({ createdAtMs: epochMs(keepUntilMs + 1) });
      await store.commit(creationOf(aSandbox(), { once: anOnce({ keepUntilMs }) }));

      expect(await store.recall(late.tenantId, "key", keepUntilMs)).toBeDefined();
      expect(await store.recall(late.tenantId, "key", epochMs(keepUntilMs + 1))).toBeUndefined();

      await store.commit(creationOf(late, { once: anOnce({ fingerprint: "late" }) }));
      const record = await store.recall(late.tenantId, "key", CREATED_AT_MS);
      expect(record).toStrictEqual({ fingerprint: "late", id: late.id });
    });
  });

  describe("many at once", () => {
    it("lets exactly one of fifty commits on one version win", async () => {
      const store = current();
      const row = aSandbox();
      await store.commit(creationOf(row));

      const won = await countWon(50, (index) =>
        store.commit(
          moveOf(row, moved(row, { tries: index }), {
            counters: [{ counter: "wins", add: 1, max: 50 }],
          }),
        ),
      );

      expect(won).toStrictEqual({ won: 1, codes: new Set(["version_conflict"]) });
      expect((await store.get(row.id))?.version).toBe(2);
      expect(await store.counters()).toStrictEqual(new Map([["wins", 1]]));
    });

    it("lets exactly one of fifty creates under one key win", async () => {
      const store = current();
      const won = await countWon(50, () =>
        store.commit(creationOf(aSandbox(), { once: anOnce() })),
      );

      expect(won).toStrictEqual({ won: 1, codes: new Set(["already_exists"]) });
    });

    it("lets exactly as many of fifty creates win as a counter has room for", async () => {
      const store = current();
      const won = await countWon(50, () =>
        store.commit(creationOf(aSandbox(), { counters: [{ counter: "live", add: 1, max: 10 }] })),
      );

      expect(won).toStrictEqual({ won: 10, codes: new Set(["quota_exceeded"]) });
      expect(await store.counters()).toStrictEqual(new Map([["live", 10]]));
    });

    it("loses no move when twenty callers read, decide and try again", async () => {
      const store = current();
      const row = aSandbox();
      await store.commit(creationOf(row));

      const raise = async (): Promise<void> => {
        const before = await store.get(row.id);
        if (before === undefined) throw new Error("the row is gone");
        try {
          await store.commit(moveOf(before, moved(before, { tries: before.tries + 1 })));
        } catch (error) {
          if (!hasCode(error, "version_conflict")) throw error;
          await raise();
        }
      };
      await Promise.all(Array.from({ length: 20 }, raise));

      expect(await store.get(row.id)).toMatchObject({ tries: 20, version: 21 });
    });
  });
}

async function countWon(count: number, call: (index: number) => Promise<void>) {
  const results = await Promise.allSettled(
    Array.from({ length: count }, (_, index) => call(index)),
  );
  const lost = results.filter((result) => result.status === "rejected");
  return { won: count - lost.length, codes: new Set(lost.map(({ reason }) => reason.code)) };
}
