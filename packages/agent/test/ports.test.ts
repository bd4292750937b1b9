import http from "node:http";
import net from "node:net";
import type { Duplex } from "node:stream";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Agent, canRun, freePort } from "./harness.ts";

describe.skipIf(!canRun)("ports", () => {
  let agent: Agent;
  const servers: net.Server[] = [];
  beforeAll(async () => {
    agent = await Agent.startSandbox({ accessToken: "secret" });
  });
  afterAll(async () => {
    for (const server of servers) server.close();
    await agent.stop();
  });

  const listen = async (server: net.Server, address = "127.0.0.1"): Promise<number> => {
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, address, resolve));
    const bound = server.address();
    return typeof bound === "object" && bound ? bound.port : 0;
  };
  const echo = () =>
    http.createServer((request, response) => {
      const pieces: Buffer[] = [];
      request.on("data", (piece) => pieces.push(piece));
      request.on("end", () => {
        const { method, url, headers } = request;
        const bytes = Buffer.concat(pieces).length;
        response.setHeader("x-answer", "yes");
        response.end(JSON.stringify({ method, url, headers, bytes }));
      });
    });

  it("passes requests on without what is meant for us", async () => {
    const port = await listen(echo());
    const answer = await agent.request("/path?q=1", {
      method: "PUT",
      headers: {
        host: `${port}-sandbox1.example.com`,
        "e2b-sandbox-port": String(port),
        "e2b-sandbox-id": "sandbox1",
        "e2b-traffic-access-token": "t",
        "x-access-token": "wrong, and none of the port's business",
        "soulbox-launch": agent.launchId,
        cookie: "kept=1",
      },
      body: Buffer.alloc(3_000_000),
    });
    expect(answer.status).toBe(200);
    expect(answer.headers["x-answer"]).toBe("yes");
    const got = JSON.parse(answer.body.toString());
    expect(got).toMatchObject({ method: "PUT", url: "/path?q=1", bytes: 3_000_000 });
    expect(got.headers).toMatchObject({ host: `${port}-sandbox1.example.com`, cookie: "kept=1" });
    const names = Object.keys(got.headers).join(" ");
    expect(names).not.toMatch(/e2b|soulbox|access-token/);
  });

  it("reaches programs that listen on IPv6 alone", async () => {
    const port = await listen(echo(), "::1");
    const answer = await agent.request("/", { headers: { "e2b-sandbox-port": String(port) } });
    expect(answer.status).toBe(200);
  });

  it("passes each piece of an answer on as it comes", async () => {
    const next = Promise.withResolvers<void>();
    const port = await listen(
      http.createServer((_request, response) => {
        response.write("first");
        void next.promise.then(() => response.end("second"));
      }),
    );
    const request = http.get({
      port: agent.port,
      host: "127.0.0.1",
      agent: false,
      headers: { "e2b-sandbox-port": String(port) },
    });
    const response = await new Promise<http.IncomingMessage>((r) => request.on("response", r));
    const first = await new Promise<Buffer>((resolve) => response.once("data", resolve));
    expect(first.toString()).toBe("first");
    next.resolve();
    const rest = await new Promise<Buffer>((resolve) => response.once("data", resolve));
    expect(rest.toString()).toBe("second");
  });

  it("keeps requests on one connection apart, whatever they are for", async () => {
    const port = await listen(echo());
    const keepAlive = new http.Agent({ keepAlive: true, maxSockets: 1 });
    const get = (headers: http.OutgoingHttpHeaders) =>
      new Promise<number>((resolve, reject) => {
        const options = {
          host: "127.0.0.1",
          port: agent.port,
          path: "/envs",
          agent: keepAlive,
          headers,
        };
        http
          .get(options, (response) =>
            response.resume().on("end", () => resolve(response.statusCode ?? 0)),
          )
          .on("error", reject);
      });
    for (let round = 0; round < 5; round += 1) {
      expect(await get({ "e2b-sandbox-port": String(port) })).toBe(200);
      expect(await get({ "x-access-token": "wrong" })).toBe(401);
      expect(await get({ "x-access-token": "secret" })).toBe(200);
    }
    keepAlive.destroy();
  });

  it("passes upgrades on, both ways and for as long as they like", async () => {
    const inner = http.createServer();
    inner.on("upgrade", (request: http.IncomingMessage, socket: Duplex) => {
      const key = request.headers["sec-websocket-key"];
      socket.write(
        `HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: ${key}\r\n\r\n`,
      );
      socket.pipe(socket);
    });
    const port = await listen(inner);
    const request = http.get({
      port: agent.port,
      host: "127.0.0.1",
      headers: {
        connection: "Upgrade",
        upgrade: "websocket",
        "sec-websocket-key": "k1",
        "e2b-sandbox-port": String(port),
      },
    });
    const [response, socket] = await new Promise<[http.IncomingMessage, Duplex]>((resolve) => {
      request.on("upgrade", (message, duplex) => resolve([message, duplex]));
    });
    expect(response.headers.upgrade).toBe("k1");
    for (const text of ["one", "x".repeat(200_000)]) {
      socket.write(text);
      let got = "";
      while (got.length < text.length) {
        got += await new Promise((resolve) => socket.once("data", resolve));
      }
      expect(got).toBe(text);
    }
    socket.destroy();
  });

  it("closes the program's connection when its client goes", async () => {
    const gone = Promise.withResolvers<void>();
    const port = await listen(
      http.createServer((request, response) => {
        response.write("hello");
        request.socket.on("close", () => gone.resolve());
      }),
    );
    const request = http.get({
      port: agent.port,
      host: "127.0.0.1",
      agent: false,
      headers: { "e2b-sandbox-port": String(port) },
    });
    request.on("error", () => {});
    request.on("response", () => request.destroy());
    await gone.promise;
  });

  it("says that a port is closed or does not answer", async () => {
    const port = await freePort();
    const closed = await agent.request("/", { headers: { "e2b-sandbox-port": String(port) } });
    expect(closed.status).toBe(502);
    expect(JSON.parse(closed.body.toString())).toEqual({
      sandboxId: "sandbox1",
      message: "The sandbox is running but port is not open",
      port,
      code: 502,
    });
    const mute = await listen(net.createServer((socket) => socket.destroy()));
    const silent = await agent.request("/", { headers: { "e2b-sandbox-port": String(mute) } });
    expect(silent.status).toBe(502);
    for (const text of ["0", "65536", "x", "80 "]) {
      const bad = await agent.request("/", { headers: { "e2b-sandbox-port": text } });
      expect([400, 502]).toContain(bad.status);
    }
  });
});
