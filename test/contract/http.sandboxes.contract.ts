import { describe, expect, it } from "vitest";
import type { Open } from "./http.contract.ts";

/** The life of a sandbox through `/v1`. */
export function sandboxCases(open: Open): void {
  describe("POST /v1/sandboxes", () => {
    it("answers 201 with the running sandbox and the access to its agent", async () => {
      const { world, call } = await open();
      const key = await world.key("acme");

      const { status, headers, json, text } = await call("POST", "/v1/sandboxes", {
        key,
        json: {
          template: "node:22",
          env: { TOKEN: "s3cret" },
          metadata: { job: "7" },
          lifetimeMs: 60_000,
          onExpiry: "pause",
          resources: { memoryMib: 1024 },
          network: { publicTraffic: false },
          place: { provider: "memory" },
        },
      });

      expect(status).toBe(201);
      expect(headers.get("location")).toBe(`/v1/sandboxes/${json.id}`);
      expect(json).toMatchObject({
        state: "running",
        endReason: null,
        template: "node:22",
        templateId: "node-22",
        resources: { cpuMilli: 1500, memoryMib: 1024, diskMib: 1024 },
        place: { provider: "memory", region: "here" },
        metadata: { job: "7" },
        network: { internet: null, publicTraffic: false },
        lifetimeMs: 60_000,
        onExpiry: "pause",
        secure: true,
        incarnation: 1,
        agent: { accessToken: `access-${json.id}`, trafficToken: `traffic-${json.id}` },
      });
      expect(Date.parse(json.expiresAt)).toBeGreaterThan(Date.parse(json.createdAt));
      expect(text).not.toContain("s3cret");
      expect(text).not.toContain("memory:");
    });

    it("takes every default for an absent body", async () => {
      const { world, call } = await open();

      const { status, json } = await call("POST", "/v1/sandboxes", {
        key: await world.key("acme"),
      });

      expect(status).toBe(201);
      expect(json).toMatchObject({ template: "base", lifetimeMs: 300_000, onExpiry: "terminate" });
    });

    it("answers 202 at once with ?wait=0, and a long poll sees it run", async () => {
      const { world, call } = await open();
      const key = await world.key("acme");
      let isReady = false;
      world.init = async () => (isReady ? "ready" : "silent");

      const made = await call("POST", "/v1/sandboxes?wait=0", { key, json: {} });
      const poll = call("GET", `${made.headers.get("location")}?wait=10&state=running`, { key });
      isReady = true;

      expect(made.status).toBe(202);
      expect(made.json.state).toBe("pending");
      expect((await poll).json.state).toBe("running");
    });

    it("ends a long poll with what it sees when the time is over", async () => {
      const { world, call } = await open();
      const key = await world.key("acme");
      const { json } = await call("POST", "/v1/sandboxes", { key });

      const seen = await call("GET", `/v1/sandboxes/${json.id}?wait=1&state=paused`, { key });

      expect(seen.json.state).toBe("running");
    });

    it("creates one sandbox for one idempotency key, whatever it waits", async () => {
      const { world, call } = await open();
      const key = await world.key("acme");
      const headers = { "idempotency-key": "job 7" };

      const one = await call("POST", "/v1/sandboxes", {
        key,
        headers,
        json: { metadata: { a: "1", b: "2" } },
      });
      const two = await call("POST", "/v1/sandboxes?wait=5", {
        key,
        headers,
        json: { metadata: { b: "2", a: "1" } },
      });
      const other = await call("POST", "/v1/sandboxes", { key, headers, json: {} });
      const foreign = await call("POST", "/v1/sandboxes", {
        key: await world.key("other"),
        headers,
        json: {},
      });

      expect(two.json.id).toBe(one.json.id);
      expect(two.status).toBe(201);
      expect(other.json).toMatchObject({ status: 422, code: "idempotency_mismatch" });
      expect(foreign.json.id).not.toBe(one.json.id);
      expect(world.provider.vendor.launched).toBe(2);
    });

    it("says why a launch failed, and when to try again", async () => {
      const { world, call } = await open();
      const key = await world.key("acme");
      world.provider.vendor.failing = "capacity";

      const { status, json } = await call("POST", "/v1/sandboxes", { key });

      expect(status).toBe(503);
      expect(json).toMatchObject({ code: "capacity_unavailable", retryable: true });
      world.provider.vendor.failing = undefined;
    });
  });

  describe("moves", () => {
    it("pauses, resumes, extends and terminates", async () => {
      const { world, call } = await open();
      const key = await world.key("acme");
      const { id } = (await call("POST", "/v1/sandboxes", { key })).json;
      const move = (name: string, json?: object) =>
        call("POST", `/v1/sandboxes/${id}/${name}`, { key, ...(json && { json }) });

      const paused = await move("pause");
      const twice = await move("pause");
      const resumed = await move("resume", { lifetimeMs: 120_000 });
      const again = await move("resume");
      const shorter = await move("extend", { lifetimeMs: 60_000, mode: "lengthen" });
      const set = await move("extend", { lifetimeMs: 60_000 });
      const ended = await call("DELETE", `/v1/sandboxes/${id}?wait=10`, { key });
      const endedTwice = await call("DELETE", `/v1/sandboxes/${id}`, { key });
      const seen = await call("GET", `/v1/sandboxes/${id}`, { key });

      expect(paused.json.state).toBe("paused");
      expect(twice.json).toMatchObject({ code: "state_conflict", details: { state: "paused" } });
      expect([resumed.json.state, again.json.state]).toEqual(["running", "running"]);
      expect(shorter.json.expiresAt).toBe(resumed.json.expiresAt);
      expect(set.json.expiresAt < shorter.json.expiresAt).toBe(true);
      expect([ended.status, ended.json.state]).toEqual([200, "terminated"]);
      expect(ended.json.endReason).toBe("requested");
      expect(endedTwice.json).toMatchObject({ status: 410, code: "sandbox_ended" });
      expect(seen.json).toMatchObject({ state: "terminated", agent: null });
      expect(world.provider.vendor.instances.size).toBe(0);
    });
  });

  describe("GET /v1/sandboxes", () => {
    it("pages to the end without a secret, newest first or oldest first", async () => {
      const { world, call } = await open();
      const key = await world.key("acme");
      const made: string[] = [];
      for (let n = 0; n < 5; n++) {
        const json = { env: { TOKEN: "s3cret" } };
        made.push((await call("POST", "/v1/sandboxes", { key, json })).json.id);
      }
      const seen: string[] = [];
      let texts = "";
      let next: string | null = "";

      while (next !== null) {
        const cursor: string = next === "" ? "" : `&cursor=${encodeURIComponent(next)}`;
        const page = await call("GET", `/v1/sandboxes?limit=2&order=asc${cursor}`, { key });
        seen.push(...page.json.items.map((item: { id: string }) => item.id));
        texts += page.text;
        next = page.json.next;
      }
      const newest = await call("GET", "/v1/sandboxes?limit=1", { key });

      expect(seen).toEqual(made);
      expect(newest.json.items[0].id).toBe(made.at(-1));
      expect(texts).not.toMatch(/s3cret|access-|traffic-|accessToken/);
    });

    it("filters by state, metadata, template and time", async () => {
      const { world, call } = await open();
      const key = await world.key("acme");
      const make = async (json: object) =>
        (await call("POST", "/v1/sandboxes", { key, json })).json;
      const list = async (query: string) => {
        const { json } = await call("GET", `/v1/sandboxes?${query}`, { key });
        return json.items.map((item: { id: string }) => item.id);
      };
      const a = await make({ metadata: { team: "x y", n: "1" } });
      const b = await make({ template: "node", metadata: { team: "x y", n: "2" } });
      await call("DELETE", `/v1/sandboxes/${a.id}?wait=10`, { key });

      expect(await list("state=running")).toEqual([b.id]);
      expect(await list("state=terminated")).toEqual([a.id]);
      expect(await list("state=running,terminated&order=asc")).toEqual([a.id, b.id]);
      expect(await list("state=running&state=terminated&order=asc")).toEqual([a.id, b.id]);
      expect(await list("metadata.team=x%20y&metadata.n=2")).toEqual([b.id]);
      expect(await list("metadata.team=x%20y&metadata.n=3")).toEqual([]);
      expect(await list("template=node:22")).toEqual([b.id]);
      expect(await list(`createdFrom=${encodeURIComponent(b.createdAt)}`)).toContain(b.id);
      expect(await list("createdFrom=2999-01-01T00:00:00Z")).toEqual([]);
    });

    it("refuses a cursor that it did not make", async () => {
      const { world, call } = await open();

      const { json } = await call("GET", "/v1/sandboxes?cursor=zzz", {
        key: await world.key("acme"),
      });

      expect(json.code).toBe("invalid_request");
    });
  });
}
