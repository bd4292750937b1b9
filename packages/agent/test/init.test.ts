import { generateKeyPairSync } from "node:crypto";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Agent, canRun } from "./harness.ts";

describe.skipIf(!canRun)("init", () => {
  let agent: Agent;
  beforeEach(async () => {
    agent = await Agent.start();
  });
  afterEach(() => agent.stop());

  it("leaves health as the only other answer before it", async () => {
    expect((await agent.request("/health")).status).toBe(204);
    for (const target of [
      "/envs",
      "/metrics",
      "/files?path=/etc/passwd",
      "/process.Process/List",
    ]) {
      const answer = await agent.request(target);
      expect(answer.status).toBe(503);
      expect(JSON.parse(answer.body.toString()).code).toBe(503);
    }
    const port = await agent.request("/", { headers: { "e2b-sandbox-port": "80" } });
    expect(port.status).toBe(503);
  });

  it("makes the instance a sandbox, and does nothing when repeated", async () => {
    const jws = await agent.sign(agent.claims());
    for (let time = 0; time < 3; time += 1) {
      const answer = await agent.request("/init", { method: "POST", body: jws });
      expect(answer.status).toBe(204);
    }
    expect((await agent.call("process.Process/List", {})).status).toBe(200);
  });

  it("refuses another sandbox with 409", async () => {
    await agent.init({ sandboxId: "sandbox1" });
    const answer = await agent.init({ sandboxId: "sandbox2" });
    expect(answer.status).toBe(409);
    expect(answer.body.toString()).toContain("sandbox1");
  });

  it("takes claims of the same sandbox that were signed later, and ignores earlier ones", async () => {
    const { iat } = agent.claims();
    await agent.init({ accessToken: "second", iat });
    expect((await agent.init({ accessToken: "first", iat: iat - 5 })).status).toBe(204);
    const answer = await agent.request("/envs", { headers: { "x-access-token": "second" } });
    expect(answer.status).toBe(200);
  });

  it("refuses what is not signed by its key, for it, or in time", async () => {
    const { privateKey: other } = generateKeyPairSync("ed25519");
    const claims = agent.claims();
    const now = Math.floor(Date.now() / 1000);
    const [head, , signature] = (await agent.sign(claims)).split(".");
    const forged = Buffer.from(JSON.stringify({ ...claims, defaultUser: "root" }));
    const none = Buffer.from('{"alg":"none"}').toString("base64url");
    const { accessToken: _, ...untold } = claims;
    const bodies = [
      "",
      "a.b",
      "not a token",
      await agent.sign(claims, other),
      `${head}.${forged.toString("base64url")}.${signature}`,
      `${none}.${Buffer.from(JSON.stringify(claims)).toString("base64url")}.${signature}`,
      await agent.sign({ ...claims, aud: "launch1-2" }),
      await agent.sign({ ...claims, exp: now - 1 }),
      await agent.sign({ ...claims, env: { A: 1 } }),
      await agent.sign(untold),
    ];
    for (const body of bodies) {
      const answer = await agent.request("/init", { method: "POST", body });
      expect(answer.status, body).toBe(401);
    }
    expect((await agent.request("/envs")).status).toBe(503);
  });

  it("refuses requests for another launch or sandbox with 502", async () => {
    await agent.init();
    const other = { "soulbox-launch": "launch1-2" };
    expect((await agent.request("/health", { headers: other })).status).toBe(502);
    const own = { "soulbox-launch": agent.launchId, "e2b-sandbox-id": "sandbox1" };
    expect((await agent.request("/health", { headers: own })).status).toBe(204);
    const answer = await agent.request("/health", { headers: { "e2b-sandbox-id": "sandbox2" } });
    expect(answer.status).toBe(502);
    expect(JSON.parse(answer.body.toString())).toEqual({
      sandboxId: "sandbox2",
      message: "The sandbox was not found",
      code: 502,
    });
  });
});

describe.skipIf(!canRun)("access token", () => {
  let agent: Agent;
  beforeEach(async () => {
    agent = await Agent.startSandbox({ accessToken: "secret" });
  });
  afterEach(() => agent.stop());

  it("is asked for on every route but health and init", async () => {
    for (const token of [undefined, "", "secre", "secret2"]) {
      const headers = token === undefined ? {} : { "x-access-token": token };
      for (const target of ["/envs", "/metrics", "/files?path=/etc/passwd", "/nowhere"]) {
        const answer = await agent.request(target, { headers });
        expect(answer.status, `${target} ${token}`).toBe(401);
        expect(JSON.parse(answer.body.toString())).toMatchObject({ code: 401 });
      }
    }
    const call = await agent.call("process.Process/List", {});
    expect(call.status).toBe(401);
    expect((await agent.request("/health")).status).toBe(204);
    const opened = await agent.request("/envs", { headers: { "x-access-token": "secret" } });
    expect(opened.status).toBe(200);
  });
});
