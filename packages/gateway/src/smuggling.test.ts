import { once } from "node:events";
import { connect } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  fakeAgent,
  type Running,
  routeTo,
  SANDBOX_ID,
  sendRaw,
  startGateway,
  until,
} from "./testing.ts";

const HOST = `Host: 49983-${SANDBOX_ID}.example.dev\r\n`;

let agent: Running;
let gateway: Awaited<ReturnType<typeof startGateway>>;
let seen: string[];

beforeAll(async () => {
  seen = [];
  agent = await fakeAgent((request, response) => {
    seen.push(`${request.method} ${request.url}`);
    request.resume().on("end", () => response.end("from the agent"));
  });
  gateway = await startGateway({ resolve: () => routeTo(`http://127.0.0.1:${agent.port}`) });
});

afterAll(async () => {
  await gateway.close();
  await agent.close();
});

describe("smuggling", () => {
  it.each([
    [
      "both lengths",
      `POST / HTTP/1.1\r\n${HOST}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    ],
    ["two lengths", `POST / HTTP/1.1\r\n${HOST}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab`],
    ["a list of lengths", `POST / HTTP/1.1\r\n${HOST}Content-Length: 1, 2\r\n\r\nab`],
    ["a negative length", `POST / HTTP/1.1\r\n${HOST}Content-Length: -1\r\n\r\n`],
    [
      "another encoding",
      `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n`,
    ],
    [
      "an encoding behind a tab",
      `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n`,
    ],
    [
      "chunks in HTTP/1.0",
      `POST / HTTP/1.0\r\n${HOST}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n`,
    ],
    [
      "a broken chunk size",
      `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n`,
    ],
    ["a folded header", `GET / HTTP/1.1\r\n${HOST}X: a\r\n b\r\n\r\n`],
    ["a space before the colon", `GET / HTTP/1.1\r\n${HOST}X : a\r\n\r\n`],
    ["bare line feeds", `GET / HTTP/1.1\n${HOST}\n`],
    ["a bare carriage return", `GET / HTTP/1.1\r\n${HOST}X: a\rb\r\n\r\n`],
    ["a NUL in the target", `GET /\0 HTTP/1.1\r\n${HOST}\r\n`],
    ["a NUL in a header", `GET / HTTP/1.1\r\n${HOST}X: a\0b\r\n\r\n`],
    ["an absolute target", `GET http://49983-${SANDBOX_ID}.d/ HTTP/1.1\r\n${HOST}\r\n`],
    ["an absolute target of another host", `GET http://api.d/ HTTP/1.1\r\n${HOST}\r\n`],
    ["a target that is an asterisk", `OPTIONS * HTTP/1.1\r\n${HOST}\r\n`],
    ["two hosts", `GET / HTTP/1.1\r\n${HOST}Host: d\r\n\r\n`],
    ["the sandbox in a second host", `GET / HTTP/1.1\r\nHost: d\r\n${HOST}\r\n`],
    ["dots in the host", `GET / HTTP/1.1\r\nHost: 49983-${SANDBOX_ID}..d\r\n\r\n`],
    [
      "two sandboxes",
      `GET / HTTP/1.1\r\nHost: d\r\ne2b-sandbox-id: ${SANDBOX_ID}\r\nE2b-Sandbox-Id: ${SANDBOX_ID}\r\n\r\n`,
    ],
    ["port 0", `GET / HTTP/1.1\r\nHost: 0-${SANDBOX_ID}.d\r\n\r\n`],
    [
      "port 70000",
      `GET / HTTP/1.1\r\nHost: d\r\ne2b-sandbox-id: ${SANDBOX_ID}\r\ne2b-sandbox-port: 70000\r\n\r\n`,
    ],
    [
      "a sandbox named twice, differently",
      `GET / HTTP/1.1\r\n${HOST}e2b-sandbox-id: sb99999999999999999999\r\n\r\n`,
    ],
    [
      "an upgrade with a body",
      `GET / HTTP/1.1\r\n${HOST}Connection: upgrade\r\nUpgrade: x\r\nContent-Length: 1\r\n\r\na`,
    ],
  ])("refuses %s with 400 and JSON", async (_name, bytes) => {
    const before = seen.length;
    const { text, socket } = await sendRaw(gateway.port, bytes, /\}$/);
    socket.destroy();

    expect(text).toMatch(/^HTTP\/1.1 400 /);
    expect(JSON.parse(text.slice(text.indexOf("\r\n\r\n") + 4))).toMatchObject({ code: 400 });
    expect(seen.slice(before)).not.toContain("GET /");
  });

  it("answers headers that are too large with 431", async () => {
    const { text } = await sendRaw(
      gateway.port,
      `GET / HTTP/1.1\r\n${HOST}X: ${"a".repeat(99_999)}`,
      /\}$/,
    );

    expect(text).toMatch(/^HTTP\/1.1 431 /);
  });

  it("takes a second request on the connection for itself, checks and all", async () => {
    const get = (path: string) => `GET ${path} HTTP/1.1\r\n${HOST}\r\n`;

    const { text, socket } = await sendRaw(
      gateway.port,
      get("/a") + get("/init") + get("/b"),
      /agent[\s\S]*404[\s\S]*agent$/,
    );
    socket.destroy();

    expect(text.match(/HTTP\/1.1 \d+/g)).toEqual(["HTTP/1.1 200", "HTTP/1.1 404", "HTTP/1.1 200"]);
    expect(seen).not.toContain("GET /init");
  });

  it("does not let a client name the framing or its own routing as hop-by-hop", async () => {
    const bytes = `POST /hop HTTP/1.1\r\n${HOST}Connection: close, content-length, host, e2b-sandbox-port\r\nContent-Length: 3\r\n\r\nabc`;

    const { text } = await sendRaw(gateway.port, bytes, /agent$/);

    expect(text).toMatch(/^HTTP\/1.1 200 /);
  });

  it("is not troubled by half a request, nor by a client that closes its half", async () => {
    const half = connect(gateway.port, "127.0.0.1");
    half.write(`GET / HTTP/1.1\r\n${HOST}`);
    half.end();
    half.resume();
    await once(half, "close");

    const body = connect(gateway.port, "127.0.0.1");
    body.write(`POST / HTTP/1.1\r\n${HOST}Content-Length: 10\r\n\r\nabc`);
    await until(() => gateway.gateway.stats.active === 1);
    body.end();
    body.resume();
    await once(body, "close");

    await until(() => gateway.gateway.stats.active === 0);
  });
});
