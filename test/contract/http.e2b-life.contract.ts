import { describe, expect, it } from "vitest";
import type { Answer, Open } from "./http.contract.ts";
import { lifeMs, near, openE2b } from "./http.e2b-create.contract.ts";

/** How E2B's clients lengthen, pause, resume and end a life. */
export function e2bLifeCases(open: Open): void {
  describe("E2B life", () => {
    it("kills once with 204, without a body", async () => {
      const { create, call, key, world } = await openE2b(open);
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
      const { create, call, key } = await openE2b(open);
      const { sandboxID, clientID } = (await create()).json;

      expect((await call("GET", `/sandboxes/${sandboxID}-${clientID}`, { key })).status).toBe(200);
    });

    it("pauses once, and connect resumes with a life of its own", async () => {
      const test = await openE2b(open);
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
      const test = await openE2b(open);
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
      const test = await openE2b(open);
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
      const { create, call, key } = await openE2b(open);
      const id = (await create()).json.sandboxID;
      const resume = () => call("POST", `/sandboxes/${id}/resume`, { key, json: {} });

      const running = await resume();
      await call("POST", `/sandboxes/${id}/pause`, { key });
      const paused = await resume();

      expect(running.json).toMatchObject({ code: 409 });
      expect(paused.status).toBe(201);
    });

    it("answers 404 for connect, pause and timeout of what isn't there", async () => {
      const { call, key } = await openE2b(open);

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
