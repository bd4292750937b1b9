import { connect } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Agent, canRun, frame } from "./harness.ts";

const HOST = "host: x\r\n";

describe.skipIf(!canRun)("hostile bytes", () => {
  let agent: Agent;
  beforeAll(async () => {
    agent = await Agent.startSandbox();
  });
  afterAll(async () => {
    expect((await agent.request("/health")).status).toBe(204);
    await agent.stop();
  });

  it("refuses what is not HTTP, and closes", async () => {
    const cases: [string, number][] = [
      ["\0\0\0\0\r\n\r\n", 400],
      ["GET / HTTP/2.0\r\n\r\n", 400],
      ["GET  / HTTP/1.1\r\n\r\n", 400],
      [`GET / HTTP/1.1\r\n${HOST}name : value\r\n\r\n`, 400],
      [`GET / HTTP/1.1\r\n${HOST} folded\r\n\r\n`, 400],
      [`GET / HTTP/1.1\r\n${HOST}a: b\nc: d\r\n\r\n`, 400],
      [`POST / HTTP/1.1\r\n${HOST}content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n`, 400],
      [`POST / HTTP/1.1\r\n${HOST}content-length: 1\r\ncontent-length: 2\r\n\r\n`, 400],
      [`POST / HTTP/1.1\r\n${HOST}content-length: -1\r\n\r\n`, 400],
      [`POST / HTTP/1.1\r\n${HOST}content-length: 0x10\r\n\r\n`, 400],
      [`POST / HTTP/1.1\r\n${HOST}transfer-encoding: gzip\r\n\r\n`, 501],
      [`POST /init HTTP/1.1\r\n${HOST}transfer-encoding: chunked\r\n\r\nzz\r\n`, 400],
      [`POST /init HTTP/1.1\r\n${HOST}transfer-encoding: chunked\r\n\r\n1\r\nab\r\n`, 400],
      [`GET / HTTP/1.1\r\n${HOST}x: ${"y".repeat(70_000)}\r\n\r\n`, 431],
    ];
    for (const [bytes, status] of cases) {
      const text = await agent.raw(bytes);
      expect(text.split("\r\n")[0], bytes.slice(0, 80)).toContain(`HTTP/1.1 ${status} `);
    }
  });

  it("answers pipelined requests in order, in whatever pieces they come", async () => {
    const one = `GET /health HTTP/1.1\r\n${HOST}\r\n`;
    const two = `POST /process.Process/List HTTP/1.1\r\n${HOST}content-type: application/json\r\ncontent-length: 2\r\n\r\n{}`;
    const last = `GET /nowhere HTTP/1.1\r\n${HOST}connection: close\r\n\r\n`;
    const bytes = one + two + last;
    const socket = connect(agent.port, "127.0.0.1");
    let text = "";
    socket.on("data", (piece) => {
      text += piece;
    });
    for (const byte of bytes) {
      socket.write(byte);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await new Promise((resolve) => socket.on("close", resolve));
    expect([...text.matchAll(/HTTP\/1\.1 (\d+)/g)].map((match) => match[1])).toEqual([
      "204",
      "200",
      "404",
    ]);
  });

  it("asks for a body that is offered with expect: 100-continue", async () => {
    const text = await agent.raw(
      `POST /init HTTP/1.1\r\n${HOST}expect: 100-continue\r\ncontent-length: 1\r\nconnection: close\r\n\r\n`.concat(
        "x",
      ),
    );
    expect(text).toMatch(/401/);
  });

  it("refuses frames that lie about their length", async () => {
    const start = (body: Buffer) => agent.stream("process.Process/Start", body);
    const whole = frame({ process: { cmd: "true" } });
    const cases: [Buffer, string][] = [
      [Buffer.alloc(0), "invalid_argument"],
      [Buffer.from([0, 0]), "invalid_argument"],
      [whole.subarray(0, -3), "invalid_argument"],
      [Buffer.from([0, 0, 0, 0, 5, 0x7b, 0x7d]), "invalid_argument"],
      [Buffer.from([0, 0xff, 0xff, 0xff, 0xff]), "resource_exhausted"],
      [Buffer.concat([Buffer.from([1]), whole.subarray(1)]), "invalid_argument"],
      [frame([]), "invalid_argument"],
      [frame("text"), "invalid_argument"],
    ];
    for (const [body, code] of cases) {
      const { status, frames } = await start(body);
      expect(status).toBe(200);
      expect(frames).toHaveLength(1);
      expect(frames[0]).toMatchObject({ flags: 2, json: { error: { code } } });
    }
  });

  it("refuses messages that are no JSON object, too deep, or too long", async () => {
    const stat = (message: string) => agent.call("filesystem.Filesystem/Stat", message);
    for (const message of ["{", "[]", "5", '"x"', "null", '{"path":{"path":{}}}', '{"path":[1]}']) {
      expect(await stat(message), message).toMatchObject({
        status: 400,
        json: { code: "invalid_argument" },
      });
    }
    const deep = `{"path":${"[".repeat(1_000_000)}${"]".repeat(1_000_000)}}`;
    expect((await stat(deep)).json.code).toBe("invalid_argument");
    const long = `{"path":"${"x".repeat(65 * 1024 * 1024)}"}`;
    expect((await stat(long)).json.code).toBe("resource_exhausted");
  });

  it("ignores fields it does not know, and takes null as absent", async () => {
    const message = { path: "/tmp", future: { a: [1] }, __proto__: null, constructor: 5 };
    const { status, json } = await agent.call("filesystem.Filesystem/Stat", message);
    expect(status).toBe(200);
    expect(json.entry.path).toBe("/tmp");
    expect(
      (await agent.call("filesystem.Filesystem/ListDir", { path: "/tmp", depth: null })).status,
    ).toBe(200);
    expect(
      (await agent.call("filesystem.Filesystem/ListDir", { path: "/tmp", depth: -1 })).json.message,
    ).toContain("depth");
  });

  it("answers what it does not have with 404, 405 and 415", async () => {
    const post = async (target: string, type: string, method = "POST") =>
      (await agent.request(target, { method, headers: { "content-type": type } })).status;
    expect(await post("/process.Process/Nothing", "application/json")).toBe(404);
    expect(await post("/process.Process/toString", "application/json")).toBe(404);
    expect(await post("/other.Service/List", "application/json")).toBe(404);
    expect(await post("/process.Process/List", "application/proto")).toBe(415);
    expect(await post("/process.Process/Start", "application/json")).toBe(415);
    expect(await post("/process.Process/List", "application/json", "GET")).toBe(405);
    expect(await post("/files", "text/plain", "DELETE")).toBe(405);
    expect((await agent.stream("process.Process/StreamInput", {})).frames[0]?.json.error.code).toBe(
      "unimplemented",
    );
  });

  it("answers browsers of any origin", async () => {
    const headers = { origin: "https://example.com" };
    const plain = await agent.request("/envs", { headers });
    expect(plain.headers["access-control-allow-origin"]).toBe("*");
    const preflight = await agent.request("/files", { method: "OPTIONS", headers });
    expect(preflight.status).toBe(204);
    expect(preflight.headers["access-control-allow-methods"]).toContain("POST");
  });

  it("cuts its streams when it is told to end", async () => {
    const own = await Agent.startSandbox();
    const stream = own.stream("process.Process/Start", { process: { cmd: "sleep", args: ["60"] } });
    const { json } = await own.call("process.Process/List", {});
    expect(json.processes.length).toBeLessThan(2);
    own.process.kill("SIGTERM");
    await expect(stream).rejects.toThrow();
    await own.stop();
  });
});
