import { ENVD_VERSION } from "@soulbox/protocol";
import { describe, expect, it } from "vitest";
import type { Answer, HttpTest, Open } from "./http.contract.ts";

const BASE = { templateID: "base" };

async function opened(open: Open) {
  const test = await open();
  const key = await test.world.key("acme");
  const create = (json: object = BASE, path = "/v2/sandboxes") =>
    test.call("POST", path, { key, json: { ...BASE, ...json } });
  return { ...test, key, create };
}

async function lifeMs({ call }: HttpTest, key: string, id: string): Promise<number> {
  const { json } = await call("GET", `/sandboxes/${id}`, { key });
  return Date.parse(json.endAt) - Date.now();
}

function near(ms: number, seconds: number): boolean {
  return Math.abs(ms - seconds * 1000) < 5000;
}

/** E2B's routes, one sandbox at a time. */
export function e2bCases(open: Open): void {
  describe("E2B create", () => {
    it("answers 201 with every required field", async () => {
      const { create } = await opened(open);

      const { status, json } = await create({ templateID: "node:22" });

      expect(status).toBe(201);
      expect(json).toEqual({
        sandboxID: expect.stringMatching(/^[a-z0-9]{21}$/),
        templateID: "node-22",
        alias: "node:22",
        clientID: "soulbox",
        envdVersion: ENVD_VERSION,
        envdAccessToken: `access-${json.sandboxID}`,
        trafficAccessToken: null,
        domain: null,
      });
    });

    it("keeps the defaults of both generations", async () => {
      const test = await opened(open);

      const old = await test.create({}, "/sandboxes");
      const oldSecure = await test.create({ secure: true }, "/sandboxes");
      const current = await test.create({});

      expect(old.json).not.toHaveProperty("envdAccessToken");
      expect(oldSecure.json.envdAccessToken).toBeDefined();
      expect(current.json.envdAccessToken).toBeDefined();
      expect(near(await lifeMs(test, test.key, old.json.sandboxID), 15)).toBe(true);
      expect(near(await lifeMs(test, test.key, current.json.sandboxID), 300)).toBe(true);
    });

    it("shows all that was asked for in the details", async () => {
      const { create, call, key } = await opened(open);
      const made = await create({
        timeout: 60,
        metadata: { a: "b" },
        envVars: { TOKEN: "s3cret" },
        autoPause: true,
        autoResume: { enabled: true },
        allow_internet_access: false,
        network: { allowPublicTraffic: false, maskRequestHost: "x.example:8080" },
        mcp: {},
        newer: 1,
      });

      const { json, text } = await call("GET", `/sandboxes/${made.json.sandboxID}`, { key });

      expect(json).toEqual({
        ...made.json,
        startedAt: expect.stringMatching(/Z$/),
        endAt: expect.stringMatching(/Z$/),
        state: "running",
        cpuCount: 2,
        memoryMB: 512,
        diskSizeMB: 1024,
        metadata: { a: "b" },
        allowInternetAccess: false,
        network: {
          allowPublicTraffic: false,
          denyOut: ["0.0.0.0/0"],
          maskRequestHost: "x.example:8080",
        },
        lifecycle: { onTimeout: "pause", autoResume: true },
      });
      expect(made.json.trafficAccessToken).toBe(`traffic-${made.json.sandboxID}`);
      expect(text).not.toContain("s3cret");
    });

    it("hides the tokens from who may only read", async () => {
      const { create, call, world } = await opened(open);
      const made = await create({ network: { allowPublicTraffic: false } });
      const key = await world.key("acme", ["sandboxes:read"]);

      const { text } = await call("GET", `/sandboxes/${made.json.sandboxID}`, { key });

      expect(text).not.toMatch(/access-|traffic-/);
    });

    it("takes null for what isn't set, as older clients send it", async () => {
      const { create } = await opened(open);
      const names = ["timeout", "metadata", "envVars", "network", "autoPause", "autoResume"];

      const { status } = await create(Object.fromEntries(names.map((name) => [name, null])));

      expect(status).toBe(201);
    });

    it.each<[string, object, number, RegExp]>([
      ["an unknown template", { templateID: "nope" }, 404, /^template 'nope' not found/],
      ["no template", { templateID: "" }, 400, /templateID/],
      ["a timeout of 0", { timeout: 0 }, 400, /timeout is 0/],
      ["a negative timeout", { timeout: -1 }, 400, /timeout is -1/],
      ["a fraction", { timeout: 1.5 }, 400, /timeout is 1.5/],
      ["more than a day", { timeout: 86_401 }, 400, /at most 86400/],
      ["ten years", { timeout: 315_360_000 }, 400, /at most 86400/],
      ["metadata that is no text", { metadata: { a: 1 } }, 400, /metadata\.a/],
      ["autoPauseMemory alone", { autoPauseMemory: false }, 400, /autoPause is not true/],
      [
        "autoPauseMemory with autoResume",
        { autoPause: true, autoPauseMemory: false, autoResume: { enabled: true } },
        400,
        /excludes autoResume/,
      ],
      ["a cold pause", { autoPause: true, autoPauseMemory: false }, 422, /keeps memory/],
      ["a domain alone", { network: { allowOut: ["a.example"] } }, 400, /denyOut to hold/],
      ["an allow list", { network: { allowOut: ["1.1.1.1"] } }, 422, /allowOut is not possible/],
      ["a deny list", { network: { denyOut: ["1.1.1.1"] } }, 422, /denyOut is not possible/],
      ["rules", { network: { rules: { "a.example": [] } } }, 422, /network\.rules/],
      ["a proxy", { network: { egressProxy: { address: "x" } } }, 422, /egressProxy/],
      ["TLS ports", { network: { httpsPorts: [443] } }, 422, /httpsPorts/],
      ["another restriction", { network: { denyIn: ["x"] } }, 400, /denyIn/],
      ["volumes", { volumeMounts: [{ name: "v", path: "/v" }] }, 422, /volumeMounts/],
      ["workload tokens", { iam: { tokens: {} } }, 422, /iam/],
    ])("refuses %s", async (_what, json, code, message) => {
      const { create, world } = await opened(open);

      const answer = await create(json);

      expect(answer.status).toBe(code);
      expect(answer.json).toEqual({ code, message: expect.stringMatching(message) });
      expect(world.provider.vendor.launched).toBe(0);
    });

    it("wants secure for private traffic on the old route", async () => {
      const { create } = await opened(open);
      const network = { allowPublicTraffic: false };

      expect((await create({ network }, "/sandboxes")).status).toBe(400);
      expect((await create({ network, secure: true }, "/sandboxes")).status).toBe(201);
    });

    it("closes the network for deny-all alone", async () => {
      const { create, call, key } = await opened(open);

      const { json } = await create({ network: { denyOut: ["0.0.0.0/0"] } });
      const native = await call("GET", `/v1/sandboxes/${json.sandboxID}`, { key });

      expect(native.json.network.internet).toBe(false);
    });

    it("answers busy with 503 and Retry-After", async () => {
      const { create, world } = await opened(open);
      world.provider.vendor.failing = "capacity";

      const { json, headers } = await create({});

      expect(json).toEqual({ code: 503, message: expect.any(String) });
      expect(headers.get("retry-after")).toMatch(/^[1-9]\d*$/);
      world.provider.vendor.failing = undefined;
    });
  });

  describe("E2B life", () => {
    it("kills once with 204, without a body", async () => {
      const { create, call, key, world } = await opened(open);
      const path = `/sandboxes/${(await create()).json.sandboxID}`;

      const first = await call("DELETE", path, { key });
      const second = await call("DELETE", path, { key });
      const seen = await call("GET", path, { key });
      await world.idle();

      expect([first.status, first.text]).toEqual([204, ""]);
      expect(second.json).toMatchObject({ code: 404 });
      expect(seen.json).toMatchObject({ code: 404 });
      expect(world.provider.vendor.instances.size).toBe(0);
    });

    it("understands the old id with a client id behind it", async () => {
      const { create, call, key } = await opened(open);
      const { sandboxID, clientID } = (await create()).json;

      expect((await call("GET", `/sandboxes/${sandboxID}-${clientID}`, { key })).status).toBe(200);
    });

    it("pauses once, and connect resumes with a life of its own", async () => {
      const test = await opened(open);
      const { call, key } = test;
      const id = (await test.create({ timeout: 600 })).json.sandboxID;
      const post = (name: string, json?: object): Promise<Answer> =>
        call("POST", name, { key, ...(json && { json }) });

      const paused = await post(`/sandboxes/${id}/pause`);
      const twice = await post(`/sandboxes/${id}/pause`, {});
      const state = (await call("GET", `/sandboxes/${id}`, { key })).json.state;
      const resumed = await post(`/v2/sandboxes/${id}/connect`, { timeout: 60 });
      const life = await lifeMs(test, key, id);
      const killed = await post(`/sandboxes/${id}/pause`, { memory: false });

      expect([paused.status, paused.text]).toEqual([204, ""]);
      expect(twice.json).toMatchObject({ code: 409 });
      expect(state).toBe("paused");
      expect(resumed.status).toBe(201);
      expect(resumed.json).toMatchObject({ sandboxID: id, envdAccessToken: `access-${id}` });
      expect(near(life, 60)).toBe(true);
      expect(killed.json).toMatchObject({ code: 422 });
    });

    it("only lengthens the life of a running sandbox by connect", async () => {
      const test = await opened(open);
      const { call, key } = test;
      const id = (await test.create({ timeout: 100 })).json.sandboxID;
      const connect = (path: string, json?: object) =>
        call("POST", path, { key, ...(json && { json }) });

      const shorter = await connect(`/sandboxes/${id}/connect`, { timeout: 50 });
      const kept = await lifeMs(test, key, id);
      await connect(`/sandboxes/${id}/connect`);
      const old = await lifeMs(test, key, id);
      await connect(`/v2/sandboxes/${id}/connect`);
      const current = await lifeMs(test, key, id);

      expect(shorter.status).toBe(200);
      expect(near(kept, 100)).toBe(true);
      expect(near(old, 100)).toBe(true);
      expect(near(current, 300)).toBe(true);
    });

    it("sets a timeout earlier and later, and refreshes only later", async () => {
      const test = await opened(open);
      const { call, key } = test;
      const id = (await test.create({ timeout: 100 })).json.sandboxID;
      const ask = async (name: string, json: object) => {
        const { status } = await call("POST", `/sandboxes/${id}/${name}`, { key, json });
        return [status, Math.round((await lifeMs(test, key, id)) / 10_000) * 10];
      };

      expect(await ask("timeout", { timeout: 40 })).toEqual([204, 40]);
      expect(await ask("timeout", { timeout: 200 })).toEqual([204, 200]);
      expect(await ask("refreshes", { duration: 60 })).toEqual([204, 200]);
      expect(await ask("refreshes", { duration: 900 })).toEqual([204, 900]);
      expect(await ask("refreshes", { duration: 3601 })).toEqual([400, 900]);
      expect(await ask("timeout", { timeout: 0 })).toEqual([400, 900]);
      expect(await ask("timeout", {})).toEqual([400, 900]);
    });

    it("resumes the old way, and refuses to when it runs", async () => {
      const { create, call, key } = await opened(open);
      const id = (await create()).json.sandboxID;
      const resume = () => call("POST", `/sandboxes/${id}/resume`, { key, json: {} });

      const running = await resume();
      await call("POST", `/sandboxes/${id}/pause`, { key });
      const paused = await resume();

      expect(running.json).toMatchObject({ code: 409 });
      expect(paused.status).toBe(201);
    });

    it("answers 404 for connect, pause and timeout of what isn't there", async () => {
      const { call, key } = await opened(open);

      for (const name of ["connect", "pause", "timeout"]) {
        const { json } = await call("POST", `/sandboxes/inothing/${name}`, {
          key,
          json: { timeout: 9 },
        });
        expect(json).toEqual({ code: 404, message: expect.any(String) });
      }
    });
  });
}
