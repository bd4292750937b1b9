import { createServer, type IncomingMessage } from "node:http";
import { describe, expect, it } from "vitest";
import { attachGateway, shouldUpgrade } from "./attach.ts";
import { createGateway } from "./gateway.ts";
import { fakeAgent, listen, routeTo, SANDBOX_ID, send, sendRaw, startGateway } from "./testing.ts";

describe("attachGateway", () => {
  it("hands the API its requests, with 100 Continue where it is waited for", async () => {
    const gateway = await startGateway({});
    const bytes =
      "POST / HTTP/1.1\r\nHost: api\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\na";

    const { text, socket } = await sendRaw(gateway.port, bytes, /api$/);
    socket.destroy();
    await gateway.close();

    expect(text).toMatch(/^HTTP\/1.1 100 Continue\r\n\r\nHTTP\/1.1 200 OK/);
  });

  it("does not answer into an answer that is under way", async () => {
    const agent = await fakeAgent((_, response) => response.write("a part"));
    const gateway = await startGateway({
      resolve: () => routeTo(`http://127.0.0.1:${agent.port}`),
    });

    const { socket } = await sendRaw(
      gateway.port,
      `GET / HTTP/1.1\r\nHost: 1-${SANDBOX_ID}.d\r\n\r\n`,
      /a part/,
    );
    let rest = "";
    socket.on("data", (chunk: Buffer) => {
      rest += chunk.toString();
    });
    socket.write("garbage\r\n\r\n");
    await new Promise((resolve) => socket.on("end", resolve).on("error", resolve));
    socket.destroy();
    await gateway.close();
    await agent.close();

    expect(rest).not.toContain("400");
  });

  it("lets an offer of h2c be an offer, where the server is told so", async () => {
    const agent = await fakeAgent((request, response) => {
      request
        .resume()
        .on("end", () => response.end(`${request.method} ${request.headers.upgrade}`));
    });
    const gateway = createGateway({
      resolve: () => routeTo(`http://127.0.0.1:${agent.port}`),
      wake: () => Promise.reject(new Error()),
      owners: () => [],
      trafficToken: () => "",
      log: () => undefined,
    });
    const server = createServer({ shouldUpgradeCallback: shouldUpgrade });
    attachGateway(server, gateway, { request: (_, response) => response.end() });
    const running = await listen(server);
    const offer = { connection: "Upgrade, HTTP2-Settings", upgrade: "h2c", "http2-settings": "AA" };

    const answer = await send(running.port, {
      method: "POST",
      headers: { ...offer, "e2b-sandbox-id": SANDBOX_ID, "content-length": "2" },
      body: "ab",
    });
    await gateway.close(0);
    await running.close();
    await agent.close();

    expect(answer.text).toBe("POST undefined");
  });
});

describe("shouldUpgrade", () => {
  const ask = (headers: Record<string, string>) => shouldUpgrade({ headers } as IncomingMessage);

  it.each([
    [{ upgrade: "websocket" }, true],
    [{ upgrade: "websocket", "content-length": "0" }, true],
    [{ upgrade: "h2c" }, false],
    [{ upgrade: "websocket", "content-length": "1" }, false],
    [{ upgrade: "websocket", "transfer-encoding": "chunked" }, false],
  ])("%j: %s", (headers, holds) => {
    expect(ask(headers)).toBe(holds);
  });
});
