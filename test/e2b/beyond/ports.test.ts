import { once } from "node:events";
import { request } from "node:http";
import { json } from "node:stream/consumers";
import { beforeAll, describe, expect } from "vitest";
import { it, ORIGIN, ownSandbox, sharedSandbox, towards } from "../fixture.ts";
import { startEchoServer, type Told } from "./echo-server.ts";

const PORT = 8000;
const shared = sharedSandbox();

beforeAll(async () => {
  await startEchoServer(shared.sandbox, PORT);
});

/** Sends a request with a host name that only the server under test knows. */
async function getByHost(host: string, path: string): Promise<{ status: number; body: unknown }> {
  const sent = request(`${ORIGIN}${path}`, { headers: { Host: host } }).end();
  const [response] = await once(sent, "response");
  return { status: response.statusCode, body: await json(response) };
}

/** A WebSocket that is open. */
async function openSocket(port: number): Promise<WebSocket> {
  const address = `${ORIGIN.replace("http:", "ws:")}/any/path?x=1`;
  const socket = new WebSocket(address, { headers: towards(shared.sandbox, port) });
  const failed = Promise.withResolvers<never>();
  socket.addEventListener("error", () => failed.reject(new Error("The WebSocket failed.")));
  await Promise.race([once(socket, "open"), failed.promise]);
  return socket;
}

describe("user port", () => {
  it("is reached by the SDK's headers", async () => {
    const response = await fetch(`${ORIGIN}/some/path?a=1&b=%20`, {
      method: "POST",
      headers: { ...towards(shared.sandbox, PORT), "X-Own": "kept" },
      body: "posted",
    });

    expect(response.status).toBe(200);
    const told = (await response.json()) as Told;
    expect(told).toMatchObject({ method: "POST", path: "/some/path?a=1&b=%20", body: "posted" });
    const headers = new Headers({ ...told.headers });
    expect(headers.get("x-own")).toBe("kept");
    expect(headers.has("x-access-token")).toBe(false);
  });

  it("is reached by the host name that getHost gives", async () => {
    const host = shared.sandbox.getHost(PORT);

    const { status, body } = await getByHost(host, "/by-host");

    expect(status).toBe(200);
    expect(body).toMatchObject({ path: "/by-host", host });
  });

  it("answers 502 with its number when nothing listens", async () => {
    const response = await fetch(ORIGIN, { headers: towards(shared.sandbox, 8001) });

    expect(response.status).toBe(502);
    expect(await response.json()).toMatchObject({
      sandboxId: shared.sandbox.sandboxId,
      port: 8001,
      code: 502,
    });
  });

  it("answers 502 when its sandbox is gone", async () => {
    const sandbox = await ownSandbox();
    await sandbox.kill();

    const response = await fetch(ORIGIN, { headers: towards(sandbox, PORT) });

    expect(response.status).toBe(502);
    expect(await response.json()).toEqual({
      sandboxId: sandbox.sandboxId,
      message: "The sandbox was not found",
      code: 502,
    });
  });

  it("carries a WebSocket both ways until either side closes it", async () => {
    const socket = await openSocket(PORT);

    for (const text of ["hello", "é 漢字"]) {
      const message = once(socket, "message");
      socket.send(text);
      expect((await message)[0]).toMatchObject({ data: text });
    }

    const closed = once(socket, "close");
    socket.close(1000);
    expect((await closed)[0]).toMatchObject({ code: 1000 });
  });

  it("has its stream cut off, not ended, when the sandbox is killed", async () => {
    const sandbox = await ownSandbox();
    await startEchoServer(sandbox, PORT);
    const response = await fetch(`${ORIGIN}/stream`, { headers: towards(sandbox, PORT) });
    const reader = response.body?.getReader();
    const first = await reader?.read();
    expect(new TextDecoder().decode(first?.value)).toMatch(/^tick\n/);
    const rest = (async () => {
      for (;;) if ((await reader?.read())?.done !== false) return "ended";
    })().catch(() => "cut");

    await sandbox.kill();

    expect(await rest).toBe("cut");
  });
});
