import { Sandbox, type SandboxInfo } from "e2b";
import { afterAll, beforeAll, describe, expect } from "vitest";
import { CLIENTS, it, MARK, pages } from "../fixture.ts";

/** Metadata of the four sandboxes that the lists are about. */
const LISTED = { ...MARK, listed: "yes" } as const;

/** The four, oldest first: two stay awake, two are paused. */
const created: Sandbox[] = [];

/** Older than the four and in no list: the end of a list is not the end of what exists. */
let older: Sandbox | undefined;

/** Characters that the encoding of filters must survive. */
const ODD = { "a&b=c": "50 % + ½" } as const;

beforeAll(async () => {
  older = await Sandbox.create({ metadata: MARK, timeoutMs: 180_000 });
  for (const role of ["first", "second", "third", "fourth"]) {
    const metadata = { ...LISTED, role, ...(role === "second" ? ODD : {}) };
    created.push(await Sandbox.create({ metadata, timeoutMs: 180_000 }));
  }
  await Promise.all(created.slice(2).map((sandbox) => sandbox.pause()));
});

afterAll(async () => {
  await Promise.all([older, ...created].map((sandbox) => sandbox?.kill()));
});

/** Roles, newest first or in the order asked for. */
function roles(listed: readonly SandboxInfo[]): (string | undefined)[] {
  return listed.map(({ metadata }) => metadata.role);
}

function infoOf(role: number): Promise<SandboxInfo> {
  const sandbox = created[role];
  if (sandbox === undefined) throw new Error(`No sandbox ${role} was created.`);
  return sandbox.getInfo();
}

for (const { name, Sandbox: Client } of CLIENTS) {
  describe(`Sandbox.list set up by ${name}`, () => {
    it(`lists running and paused sandboxes, the newest first (${name})`, async () => {
      const listed = (await pages(Client.list({ query: { metadata: LISTED } }))).flat();

      expect(roles(listed)).toEqual(["fourth", "third", "second", "first"]);
      expect(listed.map(({ state }) => state)).toEqual(["paused", "paused", "running", "running"]);
      const { network, lifecycle, sandboxDomain, allowInternetAccess, ...info } = await infoOf(0);
      expect(listed.at(-1)).toEqual(info);
    });

    it(`lists only the running sandboxes (${name})`, async () => {
      const query = { metadata: LISTED, state: ["running" as const] };

      const listed = (await pages(Client.list({ query }))).flat();

      expect(roles(listed)).toEqual(["second", "first"]);
      expect(listed.every(({ state }) => state === "running")).toBe(true);
    });

    it(`lists only the paused sandboxes (${name})`, async () => {
      const query = { metadata: LISTED, state: ["paused" as const] };

      const listed = (await pages(Client.list({ query }))).flat();

      expect(roles(listed)).toEqual(["fourth", "third"]);
      expect(listed.every(({ state }) => state === "paused")).toBe(true);
    });

    it(`lists the sandboxes whose metadata match every pair (${name})`, async () => {
      const found = Client.list({ query: { metadata: { ...LISTED, ...ODD } } });
      const other = Client.list({ query: { metadata: { ...LISTED, ...ODD, role: "first" } } });

      expect(roles((await pages(found)).flat())).toEqual(["second"]);
      expect(await pages(other)).toEqual([[]]);
    });

    it(`pages through the running sandboxes (${name})`, async () => {
      const query = { metadata: LISTED, state: ["running" as const] };

      const paginator = Client.list({ query, limit: 1 });

      expect(paginator.hasNext).toBe(true);
      expect(roles(await paginator.nextItems())).toEqual(["second"]);
      expect(paginator.hasNext).toBe(true);
      expect(paginator.nextToken).toEqual(expect.any(String));
      expect(roles(await paginator.nextItems())).toEqual(["first"]);
      expect(paginator.hasNext).toBe(false);
      expect(paginator.nextToken).toBeUndefined();
    });

    it(`pages through the paused sandboxes (${name})`, async () => {
      const query = { metadata: LISTED, state: ["paused" as const] };

      const listed = await pages(Client.list({ query, limit: 1 }));

      expect(listed.map(roles)).toEqual([["fourth"], ["third"]]);
    });

    it(`pages through running and paused sandboxes together (${name})`, async () => {
      const query = { metadata: LISTED, state: ["running" as const, "paused" as const] };

      const listed = await pages(Client.list({ query, limit: 3 }));

      expect(listed.map(roles)).toEqual([["fourth", "third", "second"], ["first"]]);
    });

    it(`goes on from a token and refuses to go past the end (${name})`, async () => {
      const query = { metadata: LISTED };
      const first = Client.list({ query, limit: 2 });
      await first.nextItems();

      const rest = Client.list({ query, limit: 2, nextToken: first.nextToken ?? "none" });

      expect(roles(await rest.nextItems())).toEqual(["second", "first"]);
      expect(rest.hasNext).toBe(false);
      await expect(rest.nextItems()).rejects.toThrow("No more items to fetch");
    });
  });
}

describe("Sandbox.list", () => {
  it("lists what started at a moment or later", async () => {
    const { startedAt } = await infoOf(2);

    const listed = await pages(
      Sandbox.list({ query: { metadata: LISTED, startedAfter: startedAt } }),
    );

    expect(roles(listed.flat())).toEqual(["fourth", "third"]);
  });

  it("orders by start across pages, either way", async () => {
    const query = { metadata: LISTED };

    const ascending = await pages(Sandbox.list({ query, order: "asc", limit: 3 }));
    const descending = await pages(Sandbox.list({ query, order: "desc", limit: 3 }));

    expect(ascending.map(roles)).toEqual([["first", "second", "third"], ["fourth"]]);
    expect(descending.map(roles)).toEqual([["fourth", "third", "second"], ["first"]]);
  });

  it("lists the sandboxes of one template", async () => {
    const { templateId } = await infoOf(0);
    const listedFrom = async (template: string) =>
      (await pages(Sandbox.list({ query: { metadata: LISTED, template } }))).flat();

    expect(await listedFrom(templateId)).toHaveLength(created.length);
    expect(await listedFrom("base")).toHaveLength(created.length);
    expect(await listedFrom("python")).toEqual([]);
    expect(await listedFrom("no-such-template")).toEqual([]);
  });
});
