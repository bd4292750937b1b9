import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { serve } from "@hono/node-server";
import { createApp } from "@soulbox/api";
import { describe } from "vitest";
import { httpContract } from "./http.contract.ts";

describe("HTTP contract: Node server", () => {
  httpContract(async (world) => {
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
  });
});
