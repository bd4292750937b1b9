import { createServer, type Server } from "node:http";
import { getRequestListener } from "@hono/node-server";
import { type ApiPorts, createApp } from "@soulbox/api";
import { all, createControlPlane, launchOf, type SandboxId } from "@soulbox/core";
import { attachGateway, createGateway, type Gateway, shouldUpgrade } from "@soulbox/gateway";
import { HEADERS } from "@soulbox/protocol";
import { nanoid } from "nanoid";
import type { Composition } from "./compose.ts";
import type { Config } from "./config.ts";
import { createMetrics } from "./metrics.ts";
import { resolveRoute, wakeSandbox } from "./routes.ts";
import { deriveToken, randomApiKey, type Secrets, sha256 } from "./secrets.ts";

/** API and gateway on one port. */
export interface Running {
  /** `http://<host>:<port>` */
  readonly url: string;
  readonly gateway: Gateway;
  /** Takes nothing more, and ends what is under way within the grace. */
  close(graceMs: number): Promise<void>;
}

/** The gateway over the composition's store. */
export function gatewayOf({ ports }: Composition, secrets: Secrets): Gateway {
  return createGateway({
    resolve: (id) => resolveRoute(ports, id),
    wake: (id, signal) => wakeSandbox(ports, id, signal),
    async *owners() {
      let cursor: Parameters<typeof ports.store.list>[0]["cursor"];
      do {
        const query = { tenantId: undefined, states: ["running"] as const, cursor, limit: 500 };
        const page = await ports.store.list(query);
        for (const { id } of page.items) {
          yield { sandboxId: id, accessToken: deriveToken(secrets, "agent", id) };
        }
        cursor = page.next;
      } while (cursor !== undefined);
    },
    trafficToken: (id) => deriveToken(secrets, "traffic", id as SandboxId),
    log: ports.log,
  });
}

/** Serves API and gateway. @throws what listening throws, `EADDRINUSE` for example. */
export async function serve(
  config: Config,
  composition: Composition,
  secrets: Secrets,
  gateway: Gateway,
): Promise<Running> {
  const { ports, keys } = composition;
  const url = `http://${config.host}:${config.port}`;
  const metrics = createMetrics(ports, gateway);
  const underWay = new Set<Promise<unknown>>();
  const api: ApiPorts = {
    controlPlane: createControlPlane(ports),
    keys,
    templates: ports.templates,
    providers: () =>
      ports.providers.map(({ name, traits, suspend }) => ({
        name,
        traits,
        canPause: suspend !== undefined,
        isHealthy: undefined,
      })),
    clock: ports.clock,
    accessToken: (id) => deriveToken(secrets, "agent", id),
    trafficToken: (id) => deriveToken(secrets, "traffic", id),
    sha256,
    randomKey: randomApiKey,
    newRequestId: () => `req_${nanoid(16)}`,
    sandboxDomain: config.sandboxDomain,
    agentFetch(sandbox, path, init) {
      // By way of the gateway, which holds the connections and checks the route once more.
      const headers = new Headers(init.headers);
      headers.set(HEADERS.sandboxId, sandbox.id);
      headers.set(HEADERS.launchId, launchOf(sandbox));
      headers.set(HEADERS.accessToken, deriveToken(secrets, "agent", sandbox.id));
      const streams = init.body instanceof ReadableStream && { duplex: "half" as const };
      return fetch(`${url}${path}`, { ...init, ...streams, headers });
    },
    background(work) {
      underWay.add(work);
      work.finally(() => underWay.delete(work));
    },
    metricsText: metrics,
    log: ports.log,
  };
  const server = createServer({ shouldUpgradeCallback: shouldUpgrade, maxHeaderSize: 64 * 1024 });
  const listener = getRequestListener(createApp(api).fetch);
  attachGateway(server, gateway, {
    request: (request, response) => void listener(request, response),
  });
  await listen(server, config);
  return {
    url,
    gateway,
    async close(graceMs) {
      server.close();
      await gateway.close(graceMs);
      await Promise.race([
        Promise.allSettled(underWay),
        new Promise((resolve) => setTimeout(resolve, graceMs).unref()),
      ]);
      server.closeAllConnections();
    },
  };
}

function listen(server: Server, { host, port }: Config): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

/** Ids of every sandbox that has not come to its end, of every tenant. */
export async function liveSandboxes({ ports }: Composition): Promise<readonly SandboxId[]> {
  const states = ["pending", "running", "pausing", "paused", "resuming", "terminating"] as const;
  const rows = await all((cursor) =>
    ports.store.list({ tenantId: undefined, states, cursor, limit: 500 }),
  );
  return rows.map((row) => row.id);
}
