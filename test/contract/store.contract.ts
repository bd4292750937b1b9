import type { Change, LedgerEntry, Sandbox, Store } from "@soulbox/core";
import type { Code } from "@soulbox/protocol";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  aClosing,
  anOnce,
  anOpening,
  aSandbox,
  aSandboxId,
  CREATED_AT_MS,
  creationOf,
  fullSandbox,
  moved,
  moveOf,
} from "./a-sandbox.ts";
import { refuses } from "./refuses.ts";
import { storeLedger } from "./store.ledger.contract.ts";
import { storePages } from "./store.pages.contract.ts";
import { storeReads } from "./store.reads.contract.ts";
import { storeWrites } from "./store.writes.contract.ts";

/** A store under test. */
export interface StoreHarness {
  readonly store: Store;
  /** Opens the same data again as another process would; absent when nothing outlives the store. */
  reopen?(): Promise<Store>;
  close(): Promise<void>;
}

/** Registers every promise of the store port as a test. `open` gives an empty store each time. */
export function storeContract(name: string, open: () => Promise<StoreHarness>): void {
  describe(`Store contract: ${name}`, () => {
    let harness: StoreHarness;
    let store: Store;
    beforeEach(async () => {
      harness = await open();
      store = harness.store;
    });
    afterEach(() => harness.close());

    describe("get and commit", () => {
      it("gives back every field as it was committed", async () => {
        const row = fullSandbox();

        await store.commit(creationOf(row));

        expect(await store.get(row.id)).toStrictEqual(row);
      });

      it("gives back undefined as undefined", async () => {
        const row = aSandbox({ state: "pending" });

        await store.commit(creationOf(row));

        expect(await store.get(row.id)).toStrictEqual(row);
      });

      it("knows no sandbox that nobody created", async () => {
        expect(await store.get(aSandboxId())).toBeUndefined();
      });

      it("keeps what was committed when the caller's own objects change", async () => {
        const metadata: Record<string, string> = { owner: "ada" };
        const row = aSandbox();
        await store.commit(creationOf({ ...row, spec: { ...row.spec, metadata } }));

        metadata.owner = "eve";
        const read = await store.get(row.id);
        attempt(() => Object.assign(read?.spec.metadata ?? {}, { owner: "eve" }));

        expect((await store.get(row.id))?.spec.metadata).toStrictEqual({ owner: "ada" });
      });

      it("refuses to create a sandbox twice", async () => {
        const row = aSandbox();
        await store.commit(creationOf(row));

        await refuses(store.commit(creationOf({ ...row, tries: 7 })), "version_conflict");

        expect(await store.get(row.id)).toStrictEqual(row);
      });

      it("refuses a move of a sandbox that doesn't exist", async () => {
        const row = aSandbox();

        await refuses(store.commit(moveOf(row, moved(row))), "version_conflict");

        expect(await store.get(row.id)).toBeUndefined();
      });

      it("refuses each repeat of a move and changes nothing by it", async () => {
        const row = aSandbox();
        const change = moveOf(row, moved(row, { tries: 1 }), {
          entries: [anOpening(row)],
          counters: [{ counter: "live", add: 1, max: 10 }],
        });
        await store.commit(creationOf(row));
        await store.commit(change);
        const before = await everything(store, row);

        for (let round = 0; round < 3; round += 1) {
          await refuses(store.commit(change), "version_conflict");
        }

        expect(await everything(store, row)).toStrictEqual(before);
      });

      it("keeps everything when it is opened again", async ({ skip }) => {
        if (harness.reopen === undefined) return skip("nothing outlives this store");
        const row = fullSandbox();
        await store.commit(fullChange(row));
        const before = await everything(store, row);

        const again = await harness.reopen();

        expect(await everything(again, row)).toStrictEqual(before);
      });
    });

    describe("all or nothing", () => {
      const spoilers: readonly [string, Code, (change: Change, other: Sandbox) => Change][] = [
        [
          "a version that isn't the stored one",
          "version_conflict",
          (change) => ({ ...change, before: change.after, after: moved(change.after) }),
        ],
        [
          "a used idempotency key",
          "already_exists",
          (change) => ({ ...change, once: anOnce({ key: "used" }) }),
        ],
        [
          "a counter beyond its max",
          "quota_exceeded",
          ({ counters, ...change }) => ({
            ...change,
            counters: [...counters, { counter: "full", add: 1, max: 1 }],
          }),
        ],
        [
          "an entry that exists with other content",
          "invalid_request",
          ({ entries, ...change }, other) => ({
            ...change,
            entries: [...entries, anOpening(other, { atMs: CREATED_AT_MS })],
          }),
        ],
      ];

      it.each(spoilers)("writes nothing at all with %s", async (_, code, spoil) => {
        const row = aSandbox();
        const other = aSandbox();
        await store.commit(creationOf(row, { counters: [{ counter: "live", add: 1, max: 5 }] }));
        await store.commit(
          creationOf(other, {
            entries: [anOpening(other)],
            counters: [{ counter: "full", add: 1, max: 1 }],
            once: anOnce({ key: "used" }),
          }),
        );
        const before = await everything(store, row);
        const good: Change = {
          ...fullChange(moved(row, { tries: 3 })),
          before: row,
          entries: [anOpening(row)],
        };
        const bad = spoil(good, other);

        await refuses(store.commit(bad), code);

        expect(await everything(store, row)).toStrictEqual(before);
        await store.commit(good);
        expect((await store.get(row.id))?.tries).toBe(3);
      });
    });

    storeWrites(() => store);
    storeReads(() => store);
    storePages(() => store);
    storeLedger(() => store);
  });
}

function fullChange(after: Sandbox): Change {
  return {
    before: undefined,
    after,
    entries: [anOpening(after), aClosing(after)],
    counters: [{ counter: "live", add: 1, max: 5 }],
    once: anOnce(),
  };
}

interface Everything {
  readonly row: Sandbox | undefined;
  readonly rows: readonly Sandbox[];
  readonly entries: readonly LedgerEntry[];
  readonly counters: ReadonlyMap<string, number>;
  readonly once: unknown;
}

async function everything(store: Store, row: Sandbox): Promise<Everything> {
  const all = { tenantId: undefined, cursor: undefined, limit: 1000 };
  return {
    row: await store.get(row.id),
    rows: (await store.list({ ...all, states: undefined })).items,
    entries: (await store.entries(all)).items,
    counters: await store.counters(),
    once: await store.recall(row.tenantId, "key", CREATED_AT_MS),
  };
}

function attempt(change: () => void): void {
  try {
    change();
  } catch {
    // A frozen answer is as good as a copy.
  }
}
