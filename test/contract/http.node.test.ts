import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { serve } from "@hono/node-server";
import { createApp } from "@soulbox/api";
import { describe, expect, it } from "vitest";
import { type HttpServer, httpContract } from "./http.contract.ts";
import { createHttpWorld, type HttpWorld } from "./http.world.ts";

async function listen(world: HttpWorld): Promise<HttpServer> {
  const server = serve({ fetch: createApp(world.ports).fetch, port: 0, hostname: "127.0.0.1" });
  if (!server.listening) await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    fetch: (request) => {
      const { pathname, search } = new URL(request.url);
      return fetch(new Request(`http://127.0.0.1:${port}${pathname}${search}`, request));
    },
    close: async () => {
      server.close();
    },
  };
}

describe("HTTP contract: Node server", () => {
  httpContract(listen);

  it("finishes a launch whose client has left, and logs no failure", async () => {
    const world = createHttpWorld();
    const server = await listen(world);
    const key = await world.key("acme");
    const client = new AbortController();
    const asked = Promise.withResolvers<void>();
    const left = Promise.withResolvers<void>();
    world.init = async () => {
      asked.resolve();
      await left.promise;
      return "ready";
    };

    const creating = server.fetch(
      new Request("http://x/v2/sandboxes", {
        method: "POST",
        headers: { "x-api-key": key, "content-type": "application/json" },
        body: JSON.stringify({ templateID: "base" }),
        signal: client.signal,
      }),
    );
    await asked.promise;
    client.abort();
    await expect(creating).rejects.toThrow();
    left.resolve();
    await world.idle();
    const list = await server.fetch(
      new Request("http://x/v1/sandboxes?state=running", { headers: { "x-api-key": key } }),
    );

    expect(await list.json()).toMatchObject({ items: [{ state: "running" }] });
    expect(world.logged.map(({ event }) => event)).not.toContain("request.failed");
    await server.close();
  });
});
