import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import { connect, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  fakeAgent,
  type Running,
  routeTo,
  SANDBOX_ID,
  sendRaw,
  startGateway,
  until,
} from "./testing.ts";

const SWITCH = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";

let agent: Running;
let gateway: Awaited<ReturnType<typeof startGateway>>;
let upgrades: IncomingMessage[];
let requests: string[];
let onUpgrade: (socket: Duplex, head: Buffer) => void;

beforeEach(async () => {
  upgrades = [];
  requests = [];
  onUpgrade = (socket, head) => {
    socket.write(SWITCH);
    socket.write(head);
    socket.pipe(socket);
  };
  agent = await fakeAgent((request, response) => {
    requests.push(request.url ?? "");
    response.end("a plain answer");
  });
  gateway = await startGateway({ resolve: () => routeTo(`http://127.0.0.1:${agent.port}`) });
});

afterEach(async () => {
  await gateway.close();
  await agent.close();
});

function acceptUpgrades(): void {
  agent.server.on("upgrade", (request, socket, head) => {
    upgrades.push(request);
    onUpgrade(socket, head);
  });
}

function ask(port = 3000, path = "/ws", more = ""): string {
  return (
    `GET ${path} HTTP/1.1\r\nHost: ${port}-${SANDBOX_ID}.d\r\nConnection: keep-alive, Upgrade\r\n` +
    `Upgrade: echo\r\nSec-WebSocket-Key: k\r\nsoulbox-launch: forged\r\n${more}\r\n`
  );
}

async function upgrade(): Promise<Socket> {
  acceptUpgrades();
  const { text, socket } = await sendRaw(gateway.port, ask());
  expect(text).toBe(SWITCH);
  return socket;
}

describe("upgrade", () => {
  it("rewrites the head and ties both ends together", async () => {
    const socket = await upgrade();

    socket.write("hello");

    expect(String((await once(socket, "data"))[0])).toBe("hello");
    expect(upgrades[0]?.headers).toEqual({
      host: `3000-${SANDBOX_ID}.d`,
      connection: "upgrade",
      upgrade: "echo",
      "sec-websocket-key": "k",
      "soulbox-launch": `${SANDBOX_ID}-1`,
      "e2b-sandbox-id": SANDBOX_ID,
      "e2b-sandbox-port": "3000",
    });
    expect(gateway.gateway.stats).toMatchObject({
      upgrades: 1,
      active: 1,
      bytesUp: 5,
      bytesDown: 5,
    });
    socket.destroy();
    await until(() => gateway.gateway.stats.active === 0);
  });

  it("passes on what was sent along with the head, once the agent has agreed", async () => {
    acceptUpgrades();

    const { text, socket } = await sendRaw(gateway.port, `${ask()}early`, /early$/);

    expect(text).toBe(`${SWITCH}early`);
    socket.destroy();
  });

  it("honours a half that is closed, in both directions", async () => {
    onUpgrade = (socket) => {
      socket.write(SWITCH);
      let got = "";
      socket.on("data", (chunk: Buffer) => {
        got += chunk.toString();
      });
      socket.on("end", () => socket.end(`got ${got}`));
    };
    const socket = await upgrade();

    socket.end("all of it");

    expect(String((await once(socket, "data"))[0])).toBe("got all of it");
    await once(socket, "end");
    await until(() => gateway.gateway.stats.active === 0);
  });

  it("lets the client talk on after the agent has closed its half", async () => {
    let got = "";
    onUpgrade = (socket) => {
      socket.end(SWITCH);
      socket.on("data", (chunk: Buffer) => {
        got += chunk.toString();
      });
    };
    const socket = await upgrade();
    socket.resume();
    if (!socket.readableEnded) await once(socket, "end");

    socket.end("still here");

    await until(() => got === "still here");
    await until(() => gateway.gateway.stats.active === 0);
  });

  it("ends the client's connection when the agent's breaks, and the other way round", async () => {
    let inside: Duplex | undefined;
    onUpgrade = (socket) => {
      inside = socket;
      socket.on("error", () => undefined);
      socket.write(SWITCH);
    };
    const first = await upgrade();
    inside?.destroy();
    first.resume();
    await Promise.all([once(first, "end"), until(() => true)]);
    first.destroy();
    await until(() => gateway.gateway.stats.active === 0);

    const { socket } = await sendRaw(gateway.port, ask());
    inside?.resume();
    socket.resetAndDestroy();
    await until(() => inside?.destroyed === true);
    await until(() => gateway.gateway.stats.active === 0);
  });

  it("holds back when one end does not read", async () => {
    let inside: Duplex | undefined;
    onUpgrade = (socket) => {
      inside = socket;
      socket.on("error", () => undefined);
      socket.write(SWITCH);
    };
    const socket = await upgrade();
    const chunk = Buffer.alloc(1024 * 1024);
    socket.on("error", () => undefined);

    let isFull = false;
    for (let i = 0; i < 64 && !isFull; i++) {
      if (socket.write(chunk)) continue;
      const timer = new Promise<string>((resolve) => setTimeout(resolve, 200, "full"));
      isFull = (await Promise.race([once(socket, "drain"), timer])) === "full";
    }

    expect(isFull).toBe(true);
    expect(gateway.gateway.stats.bytesUp).toBeLessThan(32 * 1024 * 1024);
    inside?.destroy();
    socket.destroy();
  });

  it("passes a refusal on, closes, and sends up nothing of what followed", async () => {
    const smuggled = `POST /init HTTP/1.1\r\nHost: x\r\ncontent-length: 0\r\n\r\n`;

    const { text, socket } = await sendRaw(gateway.port, ask() + smuggled, /answer/);
    socket.write(smuggled);
    socket.resume();
    if (!socket.readableEnded) await once(socket, "end").catch(() => undefined);
    socket.destroy();

    expect(text).toMatch(/^HTTP\/1.1 200 OK\r\n/);
    expect(text.toLowerCase()).toContain("connection: close");
    expect(requests).toEqual(["/ws"]);
    await until(() => gateway.gateway.stats.active === 0);
  });

  it("passes a large refusal on whole", async () => {
    agent.server.removeAllListeners("request");
    agent.server.on("request", (_, response) => response.end("x".repeat(5_000_000)));
    const socket = connect(gateway.port, "127.0.0.1");
    let bytes = 0;
    socket.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
    });

    socket.write(ask());
    await once(socket, "close");

    expect(bytes).toBeGreaterThan(5_000_000);
  });

  it("checks as for any request, and closes after its own answers", async () => {
    const control = await sendRaw(gateway.port, ask(49983, "/%69nit"), /\}$/);
    const gone = await startGateway({});
    const missing = await sendRaw(gone.port, ask(), /\}$/);
    await gone.close();

    expect(control.text).toMatch(/^HTTP\/1.1 404 [\s\S]*connection: close/i);
    expect(missing.text).toMatch(/^HTTP\/1.1 502 [\s\S]*The sandbox was not found/);
    expect(requests).toEqual([]);
    await until(() => gateway.gateway.stats.active === 0);
  });

  it("answers 502 when nothing is there, or when the agent thinks for too long", async () => {
    const dead = await startGateway({ resolve: () => routeTo("http://127.0.0.1:1") });
    const refused = await sendRaw(dead.port, ask(), /\}$/);
    await dead.close();
    agent.server.on("upgrade", (_, socket) => socket.on("error", () => undefined));
    const slow = await startGateway({
      resolve: () => routeTo(`http://127.0.0.1:${agent.port}`),
      limits: { upgradeMsMax: 30 },
    });
    const late = await sendRaw(slow.port, ask(), /\}$/);
    await slow.close();

    expect(refused.text).toMatch(/^HTTP\/1.1 502 /);
    expect(late.text).toMatch(/^HTTP\/1.1 502 /);
  });

  it("is cut with its sandbox", async () => {
    const socket = await upgrade();
    socket.resume();

    gateway.gateway.cut(SANDBOX_ID);

    expect((await once(socket, "error"))[0]).toMatchObject({ code: "ECONNRESET" });
    await until(() => gateway.gateway.stats.active === 0);
  });

  it("answers 404 when the API has nothing to upgrade to", async () => {
    const bytes = "GET / HTTP/1.1\r\nHost: api\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";

    expect((await sendRaw(gateway.port, bytes, /\}$/)).text).toMatch(/^HTTP\/1.1 404 /);
  });
});
