import { ENVD_VERSION } from "@soulbox/protocol";
import { describe, expect, it } from "vitest";
import type { HttpTest, Open } from "./http.contract.ts";

const BASE = { templateID: "base" };

/** A world with a key, and a short way to create. */
export async function openE2b(open: Open) {
  const test = await open();
  const key = await test.world.key("acme");
  const create = (json: object = BASE, path = "/v2/sandboxes") =>
    test.call("POST", path, { key, json: { ...BASE, ...json } });
  return { ...test, key, create };
}

/** How long a sandbox still lives, milliseconds. */
export async function lifeMs({ call }: HttpTest, key: string, id: string): Promise<number> {
  const { json } = await call("GET", `/sandboxes/${id}`, { key });
  return Date.parse(json.endAt) - Date.now();
}

/** True when a life is about that many seconds long. */
export function near(ms: number, seconds: number): boolean {
  return Math.abs(ms - seconds * 1000) < 5000;
}

/** How E2B's clients create. */
export function e2bCreateCases(open: Open): void {
  describe("E2B create", () => {
    it("answers 201 with every required field", async () => {
      const { create } = await openE2b(open);

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
      const test = await openE2b(open);

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
      const { create, call, key } = await openE2b(open);
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
      const { create, call, world } = await openE2b(open);
      const made = await create({ network: { allowPublicTraffic: false } });
      const key = await world.key("acme", ["sandboxes:read"]);

      const { text } = await call("GET", `/sandboxes/${made.json.sandboxID}`, { key });

      expect(text).not.toMatch(/access-|traffic-/);
    });

    it("takes null for what isn't set, as older clients send it", async () => {
      const { create } = await openE2b(open);
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
      const { create, world } = await openE2b(open);

      const answer = await create(json);

      expect(answer.status).toBe(code);
      expect(answer.json).toEqual({ code, message: expect.stringMatching(message) });
      expect(world.provider.vendor.launched).toBe(0);
    });

    it("wants secure for private traffic on the old route", async () => {
      const { create } = await openE2b(open);
      const network = { allowPublicTraffic: false };

      expect((await create({ network }, "/sandboxes")).status).toBe(400);
      expect((await create({ network, secure: true }, "/sandboxes")).status).toBe(201);
    });

    it("closes the network for deny-all alone", async () => {
      const { create, call, key } = await openE2b(open);

      const { json } = await create({ network: { denyOut: ["0.0.0.0/0"] } });
      const native = await call("GET", `/v1/sandboxes/${json.sandboxID}`, { key });

      expect(native.json.network.internet).toBe(false);
    });

    it("answers busy with 503 and Retry-After", async () => {
      const { create, world } = await openE2b(open);
      world.provider.vendor.failing = "capacity";

      const { json, headers } = await create({});

      expect(json).toEqual({ code: 503, message: expect.any(String) });
      expect(headers.get("retry-after")).toMatch(/^[1-9]\d*$/);
      world.provider.vendor.failing = undefined;
    });
  });
}
