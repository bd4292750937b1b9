import { describe, expect, it } from "vitest";
import type { Open } from "./http.contract.ts";

interface Item {
  readonly sandboxID: string;
  readonly state: string;
  readonly startedAt: string;
}

const LATER = [
  ["PUT", "/sandboxes/x/network"],
  ["POST", "/sandboxes/x/snapshots"],
  ["GET", "/snapshots"],
  ["POST", "/sandboxes/x/fork"],
  ["POST", "/v3/templates"],
  ["DELETE", "/templates/x"],
  ["GET", "/volumes"],
  ["POST", "/secrets"],
] as const;

async function opened(open: Open) {
  const test = await open();
  const key = await test.world.key("acme");
  const create = async (json: object = {}): Promise<string> => {
    const asked = { key, json: { templateID: "base", timeout: 60, ...json } };
    return (await test.call("POST", "/v2/sandboxes", asked)).json.sandboxID;
  };
  const list = async (query = "", path = "/v2/sandboxes") => {
    const { json, headers } = await test.call("GET", `${path}?${query}`, { key });
    const items: Item[] = json;
    return {
      items,
      ids: items.map(({ sandboxID }) => sandboxID),
      next: headers.get("x-next-token"),
    };
  };
  return { ...test, key, create, list };
}

/** The way E2B's clients encode the filter. */
function filterOf(metadata: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(metadata).map(([name, value]): [string, string] => [
    encodeURIComponent(name),
    encodeURIComponent(value),
  ]);
  return `metadata=${encodeURIComponent(new URLSearchParams(pairs).toString())}`;
}

const SAMPLE = {
  ts: 0,
  cpu_count: 2,
  cpu_used_pct: 12.5,
  mem_total: 512,
  mem_used: 100,
  mem_cache: 10,
  mem_total_mib: 0,
  mem_used_mib: 0,
  disk_used: 5,
  disk_total: 50,
};

/** E2B's lists, metrics, templates, and what isn't there yet. */
export function e2bListCases(open: Open): void {
  describe("E2B list", () => {
    it("shows running and paused ones, newest first, and no tokens", async () => {
      const { create, list, call, key } = await opened(open);
      const ended = await create();
      const paused = await create();
      await call("POST", `/sandboxes/${paused}/pause`, { key });
      const running = await create();
      await call("DELETE", `/sandboxes/${ended}`, { key });

      const all = await list();

      expect(all.ids).toEqual([running, paused]);
      expect(all.next).toBeNull();
      expect(all.items[0]).toEqual({
        sandboxID: running,
        templateID: "base",
        alias: "base",
        clientID: "soulbox",
        envdVersion: expect.any(String),
        startedAt: expect.any(String),
        endAt: expect.any(String),
        state: "running",
        cpuCount: 2,
        memoryMB: 512,
        diskSizeMB: 1024,
        metadata: {},
      });
      expect((await list("state=paused")).ids).toEqual([paused]);
      expect((await list("state=running,paused")).ids).toHaveLength(2);
      expect((await list("", "/sandboxes")).ids).toEqual([running]);
    });

    it("pages by x-next-token in both orders", async () => {
      const { create, list } = await opened(open);
      const made = [await create(), await create(), await create()];

      const first = await list("limit=2&order=asc");
      const second = await list(`limit=2&order=asc&nextToken=${first.next}`);

      expect(first.ids).toEqual(made.slice(0, 2));
      expect(second.ids).toEqual(made.slice(2));
      expect(second.next).toBeNull();
      expect((await list("limit=1&nextToken=")).ids).toEqual(made.slice(2));
    });

    it("filters by metadata that is encoded twice", async () => {
      const { create, list } = await opened(open);
      const metadata = { "a b": "x&y=z%25+ü", plain: "1" };
      const id = await create({ metadata });
      await create({ metadata: { plain: "1" } });

      expect((await list(filterOf(metadata))).ids).toEqual([id]);
      expect((await list(filterOf({ plain: "1" }))).ids).toHaveLength(2);
      expect((await list("metadata=plain%3D1")).ids).toHaveLength(2);
      expect((await list(filterOf({ plain: "2" }))).ids).toEqual([]);
    });

    it("filters by template and by start, the start included", async () => {
      const { create, list } = await opened(open);
      await create();
      const id = await create({ templateID: "node" });
      const started = (await list("template=node:22")).items[0]?.startedAt ?? "";

      expect((await list("template=node-22")).ids).toEqual([id]);
      expect((await list("template=unknown")).ids).toEqual([]);
      expect((await list(`startedAfter=${started}`)).ids).toContain(id);
      expect((await list("startedAfter=2999-01-01T00:00:00%2B01:00")).ids).toEqual([]);
    });

    it.each([
      "limit=0",
      "limit=101",
      "limit=x",
      "state=dead",
      "order=up",
      "startedAfter=1",
      "metadata=a%3D%2525zz",
      "nextToken=zzz",
    ])("refuses %s", async (query) => {
      const { call, key } = await opened(open);

      const { json } = await call("GET", `/v2/sandboxes?${query}`, { key });

      expect(json).toEqual({ code: 400, message: expect.any(String) });
    });
  });

  describe("E2B metrics and logs", () => {
    it("answers with the current sample when it lies in the range", async () => {
      const { create, call, key, world } = await opened(open);
      const id = await create();
      const ts = Math.floor(Date.now() / 1000);
      world.agent = async () => Response.json({ ...SAMPLE, ts });
      const metrics = async (query: string) =>
        (await call("GET", `/sandboxes/${id}/metrics${query}`, { key })).json;

      expect(await metrics("")).toEqual([
        {
          timestamp: new Date(ts * 1000).toISOString(),
          timestampUnix: ts,
          cpuCount: 2,
          cpuUsedPct: 12.5,
          memUsed: 100,
          memTotal: 512,
          memCache: 10,
          diskUsed: 5,
          diskTotal: 50,
        },
      ]);
      expect(await metrics(`?start=${ts}&end=${ts}`)).toHaveLength(1);
      expect(await metrics(`?start=${ts - 99}&end=${ts - 50}`)).toEqual([]);
      expect(await metrics("?start=x")).toMatchObject({ code: 400 });
      await call("POST", `/sandboxes/${id}/pause`, { key });
      expect(await metrics("")).toEqual([]);
    });

    it("answers for many, and leaves out what isn't the caller's", async () => {
      const { create, call, key, world } = await opened(open);
      const id = await create();
      const other = await world.key("other");
      const foreign = (
        await call("POST", "/v2/sandboxes", { key: other, json: { templateID: "base" } })
      ).json.sandboxID;
      world.agent = async () => Response.json(SAMPLE);

      const { json } = await call(
        "GET",
        `/sandboxes/metrics?sandbox_ids=${id},${foreign},nothing`,
        { key },
      );

      expect(Object.keys(json.sandboxes)).toEqual([id]);
      expect((await call("GET", "/sandboxes/metrics", { key })).json).toMatchObject({ code: 400 });
    });

    it("answers with empty logs", async () => {
      const { create, call, key } = await opened(open);
      const id = await create();

      const old = await call("GET", `/sandboxes/${id}/logs?limit=10`, { key });
      const current = await call("GET", `/v2/sandboxes/${id}/logs`, { key });

      expect(old.json).toEqual({ logs: [], logEntries: [] });
      expect(current.json).toEqual({ logs: [] });
    });
  });

  describe("E2B templates, and what is not there", () => {
    it("lists templates and finds them by name", async () => {
      const { call, key } = await opened(open);

      const list = await call("GET", "/templates", { key });
      const found = await call("GET", "/templates/aliases/node:22", { key });
      const none = await call("GET", "/templates/aliases/nope", { key });

      expect(list.json[1]).toMatchObject({ templateID: "node-22", buildStatus: "ready" });
      expect(found.json).toEqual({ templateID: "node-22", public: true });
      expect(none.json).toMatchObject({ code: 404 });
    });

    it.each(LATER)("answers 501 to %s %s, after asking for a key", async (method, path) => {
      const { call, key } = await opened(open);

      const answer = await call(method, path, { key });
      const anonymous = await call(method, path);

      expect(answer.json).toEqual({
        code: 501,
        message: expect.stringMatching(/^SoulBox has no /),
      });
      expect(anonymous.status).toBe(401);
    });
  });
}
