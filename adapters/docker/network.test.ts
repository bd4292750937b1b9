import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Dockerode from "dockerode";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { BRIDGE_DEFAULT } from "./egress.ts";
import type { RunOnHost } from "./host.ts";
import { createSandboxNetwork } from "./network.ts";

describe("createSandboxNetwork", () => {
  let dir: string;
  let bridge: string | undefined;
  let calls: string[];
  let nowMs: number;
  const server = createServer((request, response) => {
    calls.push(`${request.method} ${request.url?.replace(/^\/v[\d.]+/, "").split("?")[0]}`);
    const isKnown = request.method === "POST" || bridge !== undefined;
    const options = { "com.docker.network.bridge.name": bridge };
    response.writeHead(isKnown ? (request.method === "POST" ? 201 : 200) : 404, {
      "content-type": "application/json",
    });
    response.end(JSON.stringify(isKnown ? { Id: "n", Options: options } : { message: "none" }));
    if (request.method === "POST") bridge = BRIDGE_DEFAULT;
  });

  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), "sbx-net-"));
    calls = [];
    bridge = undefined;
    nowMs = 0;
    await new Promise<void>((resolve) => server.listen(join(dir, "s"), resolve));
  });

  afterEach(async () => {
    await new Promise((resolve) => {
      server.close(resolve);
      server.closeAllConnections();
    });
    await rm(dir, { recursive: true });
  });

  function open() {
    const docker = new Dockerode({ socketPath: join(dir, "s") });
    return createSandboxNetwork({
      docker,
      bridge: BRIDGE_DEFAULT,
      resolvers: ["10.0.0.2"],
      log: () => {},
      nowMs: () => nowMs,
    });
  }

  function host(isAble = true): { readonly run: RunOnHost; readonly scripts: string[] } {
    const scripts: string[] = [];
    const run: RunOnHost = async (script) => {
      scripts.push(script);
      if (!isAble) throw new Error("no iptables");
      return "";
    };
    return { run, scripts };
  }

  it("makes the bridge when it is missing, then lays the rules, once for all who ask", async () => {
    const network = open();
    const { run, scripts } = host();

    const answers = await Promise.all([1, 2, 3].map(() => network.ensure(() => run)));

    expect(answers).toEqual([true, true, true]);
    expect(calls).toEqual([
      "GET /networks/sandboxes-soulbox0",
      "POST /networks/create",
      "GET /networks/sandboxes-soulbox0",
    ]);
    expect(scripts).toHaveLength(1);
    expect(scripts[0]).toContain("-d 10.0.0.2/32");
  });

  it("refuses a network of that name on another bridge: rules would not apply to it", async () => {
    bridge = "br-other";

    await expect(open().ensure(() => host().run)).rejects.toThrow("br-other, not soulbox0");
  });

  it("looks again after 30 s, without keeping anybody waiting", async () => {
    const network = open();
    const { run, scripts } = host();
    await network.ensure(() => run);

    nowMs = 29_999;
    await network.ensure(() => run);
    const early = scripts.length;
    nowMs = 30_000;
    const answer = await network.ensure(() => run);
    await expect.poll(() => scripts.length).toBe(2);

    expect(early).toBe(1);
    expect(answer).toBe(true);
  });

  it("waits for the rules when it was told to forget, or when they are 10 minutes old", async () => {
    const network = open();
    const { run, scripts } = host();
    await network.ensure(() => run);

    network.forget();
    await network.ensure(() => run);
    nowMs = 600_001;
    await network.ensure(() => run);

    expect(scripts).toHaveLength(3);
  });

  it("says no when the rules can't be laid, and remembers that for 30 s", async () => {
    const network = open();
    const unable = host(false);

    const answers = [
      await network.ensure(() => unable.run),
      await network.ensure(() => unable.run),
    ];

    expect(answers).toEqual([false, false]);
    expect(unable.scripts).toHaveLength(1);
  });

  it("asks again at once when nobody could try", async () => {
    const network = open();
    const { run } = host();

    const answers = [await network.ensure(() => undefined), await network.ensure(() => run)];

    expect(answers).toEqual([false, true]);
  });
});
