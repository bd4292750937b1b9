import type { IncomingMessage } from "node:http";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { GatewayPorts, Resolution } from "./ports.ts";
import { signFileUrl } from "./signature.ts";
import {
  fakeAgent,
  OTHER_ID,
  type Running,
  routeTo,
  SANDBOX_ID,
  send,
  startGateway,
  until,
} from "./testing.ts";

const FROM_SANDBOX = { "e2b-sandbox-id": SANDBOX_ID };
const NOT_FOUND = { sandboxId: SANDBOX_ID, message: "The sandbox was not found", code: 502 };

let agent: Running;
let address: string;
let seen: IncomingMessage[];
let gateway: Awaited<ReturnType<typeof startGateway>>;

beforeEach(async () => {
  seen = [];
  agent = await fakeAgent((request, response) => {
    seen.push(request);
    if (request.url === "/hang") return;
    response.end("from the agent");
  });
  address = `http://127.0.0.1:${agent.port}`;
});

afterEach(async () => {
  await gateway.close();
  await agent.close();
});

async function start(ports: Partial<GatewayPorts>): Promise<void> {
  gateway = await startGateway(ports);
}

async function startRouted(more: Parameters<typeof routeTo>[1] = {}): Promise<void> {
  await start({ resolve: () => routeTo(address, more) });
}

describe("gateway", () => {
  it("leaves to the API what is for no sandbox", async () => {
    await startRouted();

    expect((await send(gateway.port, { path: "/sandboxes" })).text).toBe("api");
    expect(seen).toEqual([]);
  });

  it("tells the agent the port and the launch, and nothing that the client made up", async () => {
    await startRouted();

    await send(gateway.port, {
      path: "/a%20b?c=d",
      headers: {
        host: `3000-${SANDBOX_ID}.example.dev`,
        "x-access-token": "token",
        "x-own": ["1", "2"],
        "soulbox-launch": "forged",
        "SoulBox-Admin": "yes",
        "e2b-traffic-access-token": "secret",
        connection: "keep-alive, X-Hop",
        "x-hop": "1",
        "proxy-authorization": "secret",
        te: "trailers",
      },
    });

    expect(seen[0]?.url).toBe("/a%20b?c=d");
    expect(seen[0]?.headers).toEqual({
      host: `3000-${SANDBOX_ID}.example.dev`,
      connection: "keep-alive",
      "x-access-token": "token",
      "x-own": "1, 2",
      "soulbox-launch": `${SANDBOX_ID}-1`,
      "e2b-sandbox-id": SANDBOX_ID,
      "e2b-sandbox-port": "3000",
    });
  });

  it("masks the host for user ports only", async () => {
    await startRouted({ maskRequestHost: "localhost:${" + "PORT}" });

    await send(gateway.port, { headers: { host: `3000-${SANDBOX_ID}.d` } });
    await send(gateway.port, { headers: { host: `49983-${SANDBOX_ID}.d` } });

    expect(seen.map(({ headers }) => headers.host)).toEqual([
      "localhost:3000",
      `49983-${SANDBOX_ID}.d`,
    ]);
  });

  it.each<[string, Resolution]>([
    ["gone", { kind: "gone" }],
    ["paused", { kind: "paused", autoResume: false }],
  ])("answers for a sandbox that is %s that it was not found", async (_name, resolution) => {
    await start({ resolve: () => resolution });

    const answer = await send(gateway.port, { path: "/health", headers: FROM_SANDBOX });

    expect(answer.status).toBe(502);
    expect(answer.headers["content-type"]).toBe("application/json");
    expect(answer.json()).toEqual(NOT_FOUND);
    expect(gateway.gateway.stats.refused).toEqual({ not_found: 1 });
  });

  it("answers 409 while the state changes, 503 when it can't be looked up", async () => {
    let resolve = (): Resolution | Promise<Resolution> => ({ kind: "busy" });
    await start({ resolve: () => resolve() });

    const busy = await send(gateway.port, { headers: FROM_SANDBOX });
    resolve = () => Promise.reject(new Error("the store is down"));
    const down = await send(gateway.port, { headers: FROM_SANDBOX });

    expect([busy.status, down.status]).toEqual([409, 503]);
    expect(busy.json()).toMatchObject({ sandboxId: SANDBOX_ID, code: 409 });
    expect(down.headers["retry-after"]).toBe("1");
    expect(down.text).not.toContain("store");
    expect(gateway.log).toEqual(["gateway.resolve_failed"]);
  });

  it("gives a look-up that hangs up", async () => {
    await start({ resolve: () => new Promise(() => {}), limits: { resolveMsMax: 20 } });

    expect((await send(gateway.port, { headers: FROM_SANDBOX })).status).toBe(503);
  });

  it.each(["/init", "//init", "/%69nit", "/init/", "/init?x=1", "/a/../freeze"])(
    "hides the control route %s",
    async (path) => {
      await startRouted();

      const answer = await send(gateway.port, { method: "POST", path, headers: FROM_SANDBOX });

      expect(answer.status).toBe(404);
      expect(answer.json()).toEqual({ message: "There is no such route", path, code: 404 });
      expect(seen).toEqual([]);
    },
  );

  it("lets user ports have a route named like a control route", async () => {
    await startRouted();

    const answer = await send(gateway.port, {
      path: "/init",
      headers: { host: `3000-${SANDBOX_ID}.d` },
    });

    expect(answer.text).toBe("from the agent");
  });

  it("asks for the traffic token on every port but the agent's", async () => {
    await startRouted({ publicTraffic: false });
    const status = async (port: number, token?: string) => {
      const headers: Record<string, string> = { host: `${port}-${SANDBOX_ID}.d` };
      if (token !== undefined) headers["e2b-traffic-access-token"] = token;
      return (await send(gateway.port, { headers })).status;
    };

    expect(await status(3000)).toBe(403);
    expect(await status(49999, "wrong")).toBe(403);
    expect(await status(49999, "traffic-token")).toBe(200);
    expect(await status(49983)).toBe(200);
  });

  it("answers 429 with the limit when too many requests are under way", async () => {
    await start({ resolve: () => routeTo(address), limits: { requestCountMax: 2 } });
    const hanging = [1, 2].map(() =>
      send(gateway.port, { path: "/hang", headers: FROM_SANDBOX }).catch(() => undefined),
    );
    await until(() => seen.length === 2);

    const answer = await send(gateway.port, { headers: FROM_SANDBOX });

    expect(answer.status).toBe(429);
    expect(answer.json()).toMatchObject({ sandboxId: SANDBOX_ID, connectionLimit: 2, code: 429 });
    gateway.gateway.cut(SANDBOX_ID);
    await Promise.all(hanging);
    expect((await send(gateway.port, { headers: FROM_SANDBOX })).status).toBe(200);
  });

  it("answers 503 when too many sandboxes are busy, and closes idle ones first", async () => {
    await start({ resolve: () => routeTo(address), limits: { upstreamCountMax: 1 } });
    const other = { headers: { "e2b-sandbox-id": OTHER_ID } };

    expect((await send(gateway.port, { headers: FROM_SANDBOX })).status).toBe(200);
    await until(() => gateway.gateway.stats.active === 0);
    expect((await send(gateway.port, other)).status).toBe(200);
    await until(() => gateway.gateway.stats.active === 0);
    const hanging = send(gateway.port, { path: "/hang", headers: FROM_SANDBOX });
    await until(() => seen.length === 3);
    expect((await send(gateway.port, other)).status).toBe(503);

    gateway.gateway.cut(SANDBOX_ID);
    expect((await hanging).status).toBe(502);
  });

  it("looks the sandbox up again when nothing answers, once", async () => {
    const resolutions = [routeTo("http://127.0.0.1:1"), routeTo(address)];
    await start({ resolve: () => resolutions.shift() ?? { kind: "gone" } });

    const moved = await send(gateway.port, { headers: FROM_SANDBOX });
    const gone = await send(gateway.port, { headers: FROM_SANDBOX });

    expect(moved.text).toBe("from the agent");
    expect(gone.json()).toEqual(NOT_FOUND);
  });

  it("answers 502 when nothing answers twice", async () => {
    await start({ resolve: () => routeTo("http://127.0.0.1:1") });

    const answer = await send(gateway.port, { method: "POST", headers: FROM_SANDBOX, body: "x" });

    expect(answer.status).toBe(502);
    expect(answer.json()).toMatchObject({ sandboxId: SANDBOX_ID, code: 502 });
  });

  it("says the same when the address is none", async () => {
    await start({ resolve: () => routeTo("unix:/nowhere/agent.sock") });

    expect((await send(gateway.port, { headers: FROM_SANDBOX })).status).toBe(502);
  });
});

describe("gateway and browsers", () => {
  const ORIGIN = { origin: "https://app.example" };

  it("answers preflights for the agent, whatever the state", async () => {
    await start({});

    const answer = await send(gateway.port, {
      method: "OPTIONS",
      path: "/files?path=a",
      headers: {
        ...FROM_SANDBOX,
        ...ORIGIN,
        "access-control-request-method": "POST",
        "access-control-request-headers": "x-access-token,authorization",
      },
    });

    expect(answer.status).toBe(204);
    expect(answer.headers).toMatchObject({
      "access-control-allow-origin": "*",
      "access-control-allow-headers": "x-access-token,authorization",
    });
    expect(answer.headers["access-control-allow-methods"]).toContain("POST");
  });

  it("passes preflights for user ports on", async () => {
    await startRouted();

    await send(gateway.port, {
      method: "OPTIONS",
      headers: {
        host: `3000-${SANDBOX_ID}.d`,
        ...ORIGIN,
        "access-control-request-method": "POST",
      },
    });

    expect(seen).toHaveLength(1);
  });

  it("opens the agent's answers and its own to any origin, user ports' not", async () => {
    await startRouted();
    const allowed = async (headers: Record<string, string>, path = "/") =>
      (await send(gateway.port, { path, headers })).headers["access-control-allow-origin"];

    expect(await allowed({ ...FROM_SANDBOX, ...ORIGIN })).toBe("*");
    expect(await allowed({ ...FROM_SANDBOX, ...ORIGIN }, "/init")).toBe("*");
    expect(await allowed(FROM_SANDBOX)).toBeUndefined();
    expect(await allowed({ host: `3000-${SANDBOX_ID}.d`, ...ORIGIN })).toBeUndefined();
  });
});

describe("gateway and signed file URLs", () => {
  const owners = () => [
    { sandboxId: OTHER_ID, accessToken: "other" },
    { sandboxId: SANDBOX_ID, accessToken: "token" },
  ];

  function urlFor(token: string): string {
    const url = { subject: ["/a b.txt", "read", "user"] as const, expiration: undefined };
    return `/files?${new URLSearchParams({
      path: "/a b.txt",
      username: "user",
      signature: signFileUrl(url, token),
    })}`;
  }

  it("finds the sandbox by the signature and lets the agent check it again", async () => {
    const asked: string[] = [];
    await start({
      owners,
      resolve(sandboxId) {
        asked.push(sandboxId);
        return routeTo(address);
      },
    });

    const answer = await send(gateway.port, { path: urlFor("token") });

    expect(answer.text).toBe("from the agent");
    expect(asked).toEqual([SANDBOX_ID]);
    expect(seen[0]?.url).toBe(urlFor("token"));
    expect(seen[0]?.headers["e2b-sandbox-port"]).toBe("49983");
  });

  it("answers 401 for a signature that nobody made", async () => {
    await start({ owners, resolve: () => routeTo(address) });

    const answer = await send(gateway.port, { path: urlFor("forged") });

    expect(answer.status).toBe(401);
    expect(answer.json()).toEqual({ code: 401, message: "invalid signature" });
  });

  it("answers 503 when the owners can't be read", async () => {
    await start({
      owners: () => {
        throw new Error("the store is down");
      },
    });

    expect((await send(gateway.port, { path: urlFor("token") })).status).toBe(503);
  });
});

describe("gateway and paused sandboxes", () => {
  const PAUSED: Resolution = { kind: "paused", autoResume: true };

  it("wakes one once for all who come", async () => {
    let wakes = 0;
    await start({
      resolve: () => PAUSED,
      async wake() {
        wakes += 1;
        await until(() => gateway.gateway.stats.active === 5);
        return routeTo(address);
      },
    });

    const answers = await Promise.all(
      [1, 2, 3, 4, 5].map(() => send(gateway.port, { headers: { host: `3000-${SANDBOX_ID}.d` } })),
    );

    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200]);
    expect(wakes).toBe(1);
    expect(gateway.gateway.stats.wakes).toBe(1);
  });

  it("does not wake one whose health is asked for", async () => {
    await start({ resolve: () => PAUSED });

    const answer = await send(gateway.port, { path: "/health", headers: FROM_SANDBOX });

    expect(answer.json()).toEqual(NOT_FOUND);
    expect(gateway.gateway.stats.wakes).toBe(0);
  });

  it("answers 503 when the wake fails or takes too long, and tries anew", async () => {
    let wake = (): Promise<Resolution> => Promise.reject(new Error("no room"));
    await start({ resolve: () => PAUSED, wake: () => wake(), limits: { wakeMsMax: 20 } });

    const failed = await send(gateway.port, { headers: FROM_SANDBOX });
    wake = () => new Promise(() => {});
    const slow = await send(gateway.port, { headers: FROM_SANDBOX });
    wake = () => Promise.resolve(routeTo(address));
    const well = await send(gateway.port, { headers: FROM_SANDBOX });

    expect([failed.status, slow.status, well.status]).toEqual([503, 503, 200]);
    expect(failed.headers["retry-after"]).toBe("2");
  });

  it("asks for the traffic token before it wakes", async () => {
    await start({ resolve: () => ({ ...PAUSED, publicTraffic: false }) });

    const answer = await send(gateway.port, { headers: { host: `3000-${SANDBOX_ID}.d` } });

    expect(answer.status).toBe(403);
    expect(gateway.gateway.stats.wakes).toBe(0);
  });
});

describe("gateway at its end", () => {
  it("refuses what comes, lets run what runs, and cuts it when the grace is over", async () => {
    await startRouted();
    const hanging = send(gateway.port, { path: "/hang", headers: FROM_SANDBOX });
    hanging.catch(() => undefined);
    await until(() => seen.length === 1);

    const closing = gateway.gateway.close(100);
    const refused = await send(gateway.port, { headers: FROM_SANDBOX });
    await closing;

    expect(refused.status).toBe(503);
    expect(refused.headers.connection).toBe("close");
    await expect(hanging).rejects.toThrow();
    await until(() => gateway.gateway.stats.active === 0);
  });

  it("does not wait when nothing runs", async () => {
    await startRouted();
    await send(gateway.port, { headers: FROM_SANDBOX });
    await until(() => gateway.gateway.stats.active === 0);

    await gateway.gateway.close(60_000);
  });
});
