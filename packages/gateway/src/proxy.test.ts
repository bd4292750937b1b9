import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { request as openRequest } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  fakeAgent,
  type Running,
  routeTo,
  SANDBOX_ID,
  send,
  sendRaw,
  startGateway,
  until,
} from "./testing.ts";

const FROM_SANDBOX = { "e2b-sandbox-id": SANDBOX_ID };
type Handler = Parameters<typeof fakeAgent>[0];

let handler: Handler;
let agent: Running;
let gateway: Awaited<ReturnType<typeof startGateway>>;
let connections: number;

beforeEach(async () => {
  connections = 0;
  agent = await fakeAgent((request, response) => handler(request, response));
  agent.server.on("connection", () => {
    connections += 1;
  });
  gateway = await startGateway({ resolve: () => routeTo(`http://127.0.0.1:${agent.port}`) });
});

afterEach(async () => {
  await gateway.close();
  await agent.close();
});

function open(path: string, method = "GET", headers: Record<string, string> = {}) {
  return openRequest({
    port: gateway.port,
    host: "127.0.0.1",
    agent: false,
    path,
    method,
    headers: { ...FROM_SANDBOX, ...headers },
  });
}

describe("forwarding answers", () => {
  it("keeps status, message, headers, duplicates and trailers", async () => {
    handler = (_, response) => {
      response.writeHead(
        418,
        "Short and stout",
        [
          ["Set-Cookie", "a=1"],
          ["Set-Cookie", "b=2"],
          ["X-Latin", "caf\u00e9"],
          ["Date", "yesterday"],
          ["Trailer", "X-Sum"],
          ["Connection", "X-Gone"],
        ].flat(),
      );
      response.write("tea");
      response.addTrailers([["X-Sum", "3"]]);
      response.end();
    };

    const { text } = await sendRaw(
      gateway.port,
      `GET / HTTP/1.1\r\nHost: 1-${SANDBOX_ID}.d\r\n\r\n`,
      /\r\n\r\n$/,
    );

    expect(text).toMatch(/^HTTP\/1.1 418 Short and stout\r\n/);
    expect(text).toContain("Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nX-Latin: caf\u00e9\r\n");
    expect(text.match(/date:/gi)).toHaveLength(1);
    expect(text).toMatch(/\r\n0\r\nX-Sum: 3\r\n\r\n$/);
  });

  it("passes each piece on when it comes", async () => {
    let push: (text: string) => void = () => undefined;
    handler = (_, response) => {
      response.flushHeaders();
      push = (text) => response.write(text);
    };
    const sent = open("/");
    sent.end();

    const [message] = await once(sent, "response");
    push("one");
    expect(String((await once(message, "data"))[0])).toBe("one");
    push("two");
    expect(String((await once(message, "data"))[0])).toBe("two");
    sent.destroy();
  });

  it.each(["HEAD", "GET", "POST", "DELETE"])(
    "keeps %s right when there is no body",
    async (method) => {
      handler = (request, response) => {
        if (request.url === "/204") response.writeHead(204).end();
        else if (request.url === "/304") response.writeHead(304, { etag: "x" }).end();
        else
          response.writeHead(200, { "content-length": "5" }).end(method === "HEAD" ? "" : "hello");
      };

      const full = await send(gateway.port, { method, path: "/", headers: FROM_SANDBOX });
      const none = await send(gateway.port, { method, path: "/204", headers: FROM_SANDBOX });
      const same = await send(gateway.port, { method, path: "/304", headers: FROM_SANDBOX });

      expect([full.status, none.status, same.status]).toEqual([200, 204, 304]);
      expect(full.headers["content-length"]).toBe("5");
      expect(full.text).toBe(method === "HEAD" ? "" : "hello");
    },
  );

  it("passes early hints on", async () => {
    handler = (_, response) => {
      response.writeEarlyHints({ link: "</a.css>; rel=preload" });
      response.end("x");
    };

    const { text } = await sendRaw(
      gateway.port,
      `GET / HTTP/1.1\r\nHost: 1-${SANDBOX_ID}.d\r\n\r\n`,
      /x$/,
    );

    expect(text).toMatch(/^HTTP\/1.1 103 [\s\S]*a.css[\s\S]*HTTP\/1.1 200 /);
  });

  it.each([
    ["chunked", {}],
    ["of known length", { "content-length": "1000" }],
  ])("cuts an answer %s when the agent dies, after all that it said", async (_name, headers) => {
    handler = (request, response) => {
      response.writeHead(200, headers);
      response.write("last words");
      setTimeout(() => request.socket.destroy(), 20);
    };
    const sent = open("/");
    sent.end();

    const [message] = await once(sent, "response");
    let text = "";
    message.on("data", (part: Buffer) => {
      text += part.toString();
    });

    await expect(once(message, "end")).rejects.toMatchObject({ code: "ECONNRESET" });
    expect(text).toBe("last words");
    expect(gateway.gateway.stats.cuts).toBe(1);
  });

  it("resets the connection of a client that could not tell a cut from an end", async () => {
    handler = (request, response) => {
      response.write("part");
      setTimeout(() => request.socket.destroy(), 20);
    };
    const socket = connect(gateway.port, "127.0.0.1");
    socket.write(`GET / HTTP/1.0\r\nHost: 1-${SANDBOX_ID}.d\r\n\r\n`);
    socket.resume();

    const [error] = await once(socket, "error");

    expect(error).toMatchObject({ code: "ECONNRESET" });
  });

  it("answers 502 when the agent dies or babbles before its answer", async () => {
    handler = (request) => {
      if (request.url === "/babble")
        request.socket.end("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n");
      else request.socket.destroy();
    };

    for (const path of ["/die", "/babble"]) {
      const get = await send(gateway.port, { path, headers: FROM_SANDBOX });
      const post = await send(gateway.port, {
        path,
        method: "POST",
        headers: FROM_SANDBOX,
        body: "x",
      });
      expect([get.status, post.status]).toEqual([502, 502]);
    }
  });
});

describe("forwarding requests", () => {
  it("streams a body up and its answer down at the same time", async () => {
    handler = (request, response) => {
      request.pipe(response);
    };
    const sent = open("/", "POST");
    sent.write("one");

    const [message] = await once(sent, "response");
    expect(String((await once(message, "data"))[0])).toBe("one");
    sent.write("two");
    expect(String((await once(message, "data"))[0])).toBe("two");
    sent.end();
    await once(message, "end");
  });

  it("sends the head before there is any body", async () => {
    let isSeen = false;
    handler = (_, response) => {
      isSeen = true;
      response.flushHeaders();
    };
    const sent = open("/", "POST", { "transfer-encoding": "chunked" });
    sent.flushHeaders();

    await once(sent, "response");

    expect(isSeen).toBe(true);
    sent.destroy();
  });

  it("keeps length or chunks, and trailers", async () => {
    const seen: unknown[] = [];
    handler = (request, response) => {
      request.resume().on("end", () => {
        const { "content-length": length, "transfer-encoding": encoding } = request.headers;
        seen.push([length, encoding, request.trailers]);
        response.end();
      });
    };
    const chunked = open("/", "PUT", { trailer: "x-sum" });
    chunked.write("abc");
    chunked.addTrailers({ "x-sum": "3" });
    chunked.end();
    await once(chunked, "response");
    await send(gateway.port, {
      method: "GET",
      headers: { ...FROM_SANDBOX, "content-length": "3" },
      body: "abc",
    });

    expect(seen).toEqual([
      [undefined, "chunked", { "x-sum": "3" }],
      ["3", undefined, {}],
    ]);
  });

  it("sends 100 Continue only once the sandbox is there", async () => {
    handler = (request, response) => {
      request.resume().on("end", () => response.end(`expect ${request.headers.expect}`));
    };
    const sent = open("/", "POST", { expect: "100-continue", "content-length": "2" });
    sent.flushHeaders();

    await once(sent, "continue");
    sent.end("ab");
    const [message] = await once(sent, "response");
    expect(String((await once(message, "data"))[0])).toBe("expect undefined");

    const refused = open("/init", "POST", { expect: "100-continue", "content-length": "2" });
    refused.flushHeaders();
    refused.on("continue", () => expect.unreachable());
    expect((await once(refused, "response"))[0].statusCode).toBe(404);
    refused.destroy();
  });

  it("uses one connection for requests that follow each other", async () => {
    handler = (request, response) => {
      request.resume().on("end", () => response.end("x"));
    };

    for (let i = 0; i < 5; i++) await send(gateway.port, { headers: FROM_SANDBOX });
    expect(connections).toBe(1);
    for (let i = 0; i < 5; i++) {
      await send(gateway.port, { method: "POST", headers: FROM_SANDBOX, body: "x" });
    }
    expect(connections).toBe(2);
  });

  it.each(["GET", "POST"])("gives a %s up at the agent when its client goes", async (method) => {
    let isGone = false;
    const arrivals = new Set<string | undefined>();
    handler = (request, response) => {
      arrivals.add(request.url);
      response.on("close", () => {
        isGone = true;
      });
      if (request.url === "/begun") response.write("x");
    };

    for (const path of ["/silent", "/begun"]) {
      isGone = false;
      const sent = open(path, method);
      sent.on("error", () => undefined);
      const answered = once(sent, "response").catch(() => undefined);
      if (method === "POST") sent.write("x");
      else sent.end();
      await until(() => arrivals.has(path));
      if (path === "/begun") await answered;
      sent.destroy();
      await until(() => isGone);
      await until(() => gateway.gateway.stats.active === 0);
    }
  });

  it("passes an early answer on although the body is still coming", async () => {
    handler = (_, response) => {
      response.writeHead(507).end("full");
    };
    const sent = open("/files", "POST", { "content-length": "100000000" });
    sent.on("error", () => undefined);
    sent.write("x".repeat(100_000));

    const [message] = await once(sent, "response");

    expect(message.statusCode).toBe(507);
    expect(String((await once(message, "data"))[0])).toBe("full");
    sent.destroy();
  });

  it("answers and lets go when a refused client goes on sending", async () => {
    const sent = open("/init", "POST", { "content-length": "100000000" });
    sent.on("error", () => undefined);
    sent.flushHeaders();
    const closed = new Promise((resolve) => sent.on("close", resolve));
    const [message] = await once(sent, "response");
    message.on("error", () => undefined);
    expect(message.statusCode).toBe(404);

    const chunk = "x".repeat(1_000_000);
    for (let i = 0; i < 100 && !sent.destroyed; i++) {
      if (!sent.write(chunk)) await Promise.race([once(sent, "drain"), closed]).catch(() => null);
    }

    await until(() => sent.destroyed);
    await until(() => gateway.gateway.stats.active === 0);
  });
});

describe("many at once", () => {
  it("carries a thousand streams over a unix socket, whose queue is shorter", {
    timeout: 60_000,
  }, async () => {
    const path = join(mkdtempSync(join(tmpdir(), "gateway-")), "agent.sock");
    handler = (_, response) => setTimeout(() => response.end("x"), 50);
    const inside = await fakeAgent((request, response) => handler(request, response), path);
    const outside = await startGateway({ resolve: () => routeTo(`unix:${path}`) });

    const answers = await Promise.all(
      Array.from({ length: 1_000 }, (_, i) =>
        send(outside.port, { method: i % 2 === 0 ? "GET" : "POST", headers: FROM_SANDBOX }),
      ),
    );

    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
    await outside.close();
    await inside.close();
    rmSync(dirname(path), { recursive: true });
  });
});

describe("back-pressure", () => {
  const BYTES = 300 * 1024 * 1024;
  const CHUNK = Buffer.alloc(256 * 1024, "x");
  /** What may pile up in sockets and streams between two ends that differ in speed. */
  const SLACK = 24 * 1024 * 1024;

  function pour(into: NodeJS.WritableStream, bytes: number): () => number {
    let left = bytes;
    const go = () => {
      while (left > 0) {
        left -= CHUNK.length;
        if (!into.write(CHUNK)) {
          into.once("drain", go);
          return;
        }
      }
      into.end();
    };
    go();
    return () => bytes - left;
  }

  it("moves 300 MB up and down in flat memory", { timeout: 60_000 }, async () => {
    handler = (request, response) => {
      if (request.method === "GET") {
        response.writeHead(200, { "content-length": String(BYTES) });
        pour(response, BYTES);
        return;
      }
      let got = 0;
      request.on("data", (chunk: Buffer) => {
        got += chunk.length;
      });
      request.on("end", () => response.end(String(got)));
    };
    const before = process.memoryUsage().rss;
    let peak = before;
    const watch = setInterval(() => {
      peak = Math.max(peak, process.memoryUsage().rss);
    }, 10);

    const down = open("/");
    down.end();
    const [message] = await once(down, "response");
    let got = 0;
    message.on("data", (chunk: Buffer) => {
      got += chunk.length;
    });
    await once(message, "end");
    expect(got).toBe(BYTES);

    const up = open("/", "POST", { "content-length": String(BYTES) });
    pour(up, BYTES);
    const [answer] = await once(up, "response");
    expect(String((await once(answer, "data"))[0])).toBe(String(BYTES));

    clearInterval(watch);
    // Client, gateway and agent share this process.
    expect(peak - before).toBeLessThan(150 * 1024 * 1024);
  });

  it("lets a client that stops reading stall its own stream only", async () => {
    let written = () => 0;
    handler = (request, response) => {
      if (request.url === "/large") written = pour(response, BYTES);
      else response.end("small");
    };
    const stalled = connect(gateway.port, "127.0.0.1");
    stalled.on("error", () => undefined);
    stalled.write(`GET /large HTTP/1.1\r\nHost: 49983-${SANDBOX_ID}.d\r\n\r\n`);
    await once(stalled, "readable");
    let last = -1;
    while (last !== written()) {
      last = written();
      await new Promise((resolve) => setTimeout(resolve, 100));
    }

    expect(last).toBeLessThan(SLACK);
    expect((await send(gateway.port, { headers: FROM_SANDBOX })).text).toBe("small");
    stalled.destroy();
    await until(() => gateway.gateway.stats.active === 0);
  });

  it("lets an agent that stops reading stall the upload", async () => {
    handler = () => undefined;
    const sent = open("/", "POST", { "content-length": String(BYTES) });
    sent.on("error", () => undefined);
    const written = pour(sent, BYTES);
    let last = -1;
    while (last !== written()) {
      last = written();
      await new Promise((resolve) => setTimeout(resolve, 100));
    }

    expect(last).toBeLessThan(SLACK);
    expect(gateway.gateway.stats.bytesUp).toBeLessThan(SLACK);
    sent.destroy();
    gateway.gateway.cut(SANDBOX_ID);
    await until(() => gateway.gateway.stats.active === 0);
  });
});
