import { epochMs, type ListQuery, type Sandbox, type SandboxId, type Store } from "@soulbox/core";
import { STATES } from "@soulbox/protocol";
import { describe, expect, it } from "vitest";
import {
  aMarked,
  aPlace,
  aSandbox,
  aTenantId,
  CREATED_AT_MS,
  creationOf,
  moved,
  moveOf,
} from "./a-sandbox.ts";

const ALL: ListQuery = { tenantId: undefined, states: undefined, cursor: undefined, limit: 1000 };
const at = (ms: number) => epochMs(CREATED_AT_MS + ms);

/** Registers what lists promise: order, filters, pages, what is due. */
export function storeReads(current: () => Store): void {
  const put = async (...rows: readonly Sandbox[]): Promise<readonly SandboxId[]> => {
    for (const row of rows) await current().commit(creationOf(row));
    return rows.map(({ id }) => id);
  };
  const idsOf = async (query: Partial<ListQuery>): Promise<readonly SandboxId[]> => {
    const { items } = await current().list({ ...ALL, ...query });
    return items.map(({ id }) => id);
  };

  describe("list", () => {
    it("gives an empty page when there is nothing", async () => {
      expect(await current().list(ALL)).toStrictEqual({ items: [], next: undefined });
    });

    it("gives whole rows, newest first, or oldest first when asked", async () => {
      const rows = [2, 0, 1].map((ms) => aSandbox({ createdAtMs: at(ms) }));
      const [third, first, second] = await put(...rows);

      expect(await idsOf({})).toStrictEqual([third, second, first]);
      expect(await idsOf({ order: "asc" })).toStrictEqual([first, second, third]);
      expect((await current().list({ ...ALL, limit: 1 })).items).toStrictEqual([rows[0]]);
    });

    it("orders rows of one instant by id", async () => {
      const [first, second, third] = await put(aSandbox(), aSandbox(), aSandbox());

      expect(await idsOf({ order: "asc" })).toStrictEqual([first, second, third]);
      expect(await idsOf({})).toStrictEqual([third, second, first]);
    });

    it("shows a tenant its own sandboxes and the operator everyone's", async () => {
      const [mine, theirs] = await put(
        aSandbox({ tenantId: aTenantId("a") }),
        aSandbox({ tenantId: aTenantId("a-b") }),
      );

      expect(await idsOf({ tenantId: aTenantId("a") })).toStrictEqual([mine]);
      expect(await idsOf({ tenantId: aTenantId("a-b") })).toStrictEqual([theirs]);
      expect(await idsOf({ tenantId: aTenantId("c") })).toStrictEqual([]);
      expect(await idsOf({ order: "asc" })).toStrictEqual([mine, theirs]);
    });

    it("filters by any set of states, as they are after the last commit", async () => {
      const rows = STATES.map((state) => aSandbox({ state }));
      await put(...rows);
      const of = (...states: readonly string[]) =>
        rows.filter((row) => states.includes(row.state)).map(({ id }) => id);
      const list = (...states: ListQuery["states"] & object) => idsOf({ states, order: "asc" });

      for (const state of STATES) expect(await list(state)).toStrictEqual(of(state));
      expect(await list("paused", "running")).toStrictEqual(of("paused", "running"));
      expect(await list(...STATES)).toStrictEqual(of(...STATES));
      expect(await list("paused", "paused")).toStrictEqual(of("paused"));
      expect(await list()).toStrictEqual([]);

      const running = rows.find(({ state }) => state === "running") ?? aSandbox();
      await current().commit(moveOf(running, moved(running, { state: "pausing" })));
      expect(await list("running")).toStrictEqual([]);
      expect(await list("pausing")).toContain(running.id);
    });

    it("filters by place, provider and region both", async () => {
      const [one, other] = await put(
        aSandbox({ place: aPlace("fargate", "eu-west-1") }),
        aSandbox({ place: aPlace("fargate", "eu-west-2") }),
        aSandbox({ place: aPlace("aci", "eu-west-1") }),
        aSandbox({ place: aPlace("fargate", "eu-west-1"), state: "terminated" }),
      );

      const place = aPlace("fargate", "eu-west-1");
      expect(await idsOf({ place, states: ["running", "paused"] })).toStrictEqual([one]);
      expect(await idsOf({ place })).toHaveLength(2);
      expect(await idsOf({ place: aPlace("fargate", "eu-west-2") })).toStrictEqual([other]);
      expect(await idsOf({ place: aPlace("aci", "eu-west-2") })).toStrictEqual([]);
    });

    it("filters by template", async () => {
      const row = aSandbox();
      const [one] = await put({ ...row, spec: { ...row.spec, templateId: "node-22" } }, aSandbox());

      expect(await idsOf({ templateId: "node-22" })).toStrictEqual([one]);
      expect(await idsOf({ templateId: "node" })).toStrictEqual([]);
    });

    it("filters by metadata: every pair must match, whatever its key looks like", async () => {
      const [one, two, odd] = await put(
        aMarked({ owner: "ada", team: "x" }),
        aMarked({ owner: "ada", team: "y", extra: "" }),
        aMarked({ "a.b": "1", '$."q': "2", ["__proto__"]: "3", "\u{1F600}": "4" }),
      );
      const list = (metadata: Record<string, string>) => idsOf({ metadata, order: "asc" });

      expect(await list({ owner: "ada" })).toStrictEqual([one, two]);
      expect(await list({ owner: "ada", team: "y" })).toStrictEqual([two]);
      expect(await list({ owner: "ada", team: "z" })).toStrictEqual([]);
      expect(await list({ extra: "" })).toStrictEqual([two]);
      expect(await list({ missing: "" })).toStrictEqual([]);
      expect(await list({})).toHaveLength(3);
      for (const pair of [{ "a.b": "1" }, { '$."q': "2" }, { "\u{1F600}": "4" }]) {
        expect(await list(pair as Record<string, string>)).toStrictEqual([odd]);
      }
      expect(await list({ ["__proto__"]: "3" })).toStrictEqual([odd]);
      expect(await list({ constructor: "function Object() { [native code] }" })).toHaveLength(0);
    });

    it("takes what was created at or after an instant", async () => {
      const [, second, third] = await put(
        ...[0, 1, 2].map((ms) => aSandbox({ createdAtMs: at(ms) })),
      );

      expect(await idsOf({ createdFromMs: at(1) })).toStrictEqual([third, second]);
      expect(await idsOf({ createdFromMs: at(1), order: "asc" })).toStrictEqual([second, third]);
      expect(await idsOf({ createdFromMs: at(3) })).toStrictEqual([]);
    });

    it("applies all filters together", async () => {
      const tenantId = aTenantId("a");
      const place = aPlace("aci", "here");
      const [wanted] = await put(
        aMarked({ k: "v" }, { tenantId, place, createdAtMs: at(5) }),
        aMarked({ k: "v" }, { tenantId, place, createdAtMs: at(4) }),
        aMarked({ k: "v" }, { tenantId, place, createdAtMs: at(5), state: "paused" }),
        aMarked({ k: "v" }, { tenantId, createdAtMs: at(5) }),
        aMarked({ k: "v" }, { place, createdAtMs: at(5) }),
        aMarked({}, { tenantId, place, createdAtMs: at(5) }),
      );

      const query = { tenantId, place, states: ["running"] as const, metadata: { k: "v" } };
      expect(await idsOf({ ...query, createdFromMs: at(5), templateId: "base" })).toStrictEqual([
        wanted,
      ]);
    });
  });

  describe("due", () => {
    it("gives resting rows for expiry and moving ones for move, earliest first", async () => {
      const rows = STATES.map((state, index) => aSandbox({ state, dueAtMs: at(100 - index) }));
      await put(...rows);
      const of = (...states: readonly string[]) =>
        rows.filter((row) => states.includes(row.state)).map(({ id }) => id);

      expect(await current().due("expiry", at(1000), 10)).toStrictEqual(
        of("running", "paused").reverse(),
      );
      expect(await current().due("move", at(1000), 10)).toStrictEqual(
        of("pending", "pausing", "resuming", "terminating").reverse(),
      );
    });

    it("includes the instant itself, nothing later, and no more than was asked for", async () => {
      const ids = await put(...[1, 2, 3, 4].map((ms) => aSandbox({ dueAtMs: at(ms) })));

      expect(await current().due("expiry", at(0), 10)).toStrictEqual([]);
      expect(await current().due("expiry", at(2), 10)).toStrictEqual(ids.slice(0, 2));
      expect(await current().due("expiry", at(9), 3)).toStrictEqual(ids.slice(0, 3));
    });

    it("follows each commit", async () => {
      const row = aSandbox({ dueAtMs: at(5) });
      await put(row);
      const both = async () => [
        await current().due("expiry", at(100), 10),
        await current().due("move", at(100), 10),
      ];

      const later = moved(row, { dueAtMs: at(101) });
      await current().commit(moveOf(row, later));
      expect(await both()).toStrictEqual([[], []]);

      const ending = moved(later, { state: "terminating", dueAtMs: at(7) });
      await current().commit(moveOf(later, ending));
      expect(await both()).toStrictEqual([[], [row.id]]);

      await current().commit(
        moveOf(ending, moved(ending, { state: "terminated", dueAtMs: undefined })),
      );
      expect(await both()).toStrictEqual([[], []]);
    });

    it("leaves out rows that wait for nothing", async () => {
      await put(aSandbox({ dueAtMs: undefined }), aSandbox({ state: "failed" }));

      expect(await current().due("expiry", at(1e9), 10)).toStrictEqual([]);
      expect(await current().due("move", at(1e9), 10)).toStrictEqual([]);
    });
  });
}
