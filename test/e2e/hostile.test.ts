import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer, request, type Server } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import { isFinal } from "@soulbox/protocol";
import { CommandExitError, type Sandbox } from "e2b";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { type Client, createClient } from "./client.ts";
import {
  cleanUp,
  containersOf,
  freePort,
  type Program,
  poll,
  runScript,
  secretsOf,
  startReady,
  temporaryDir,
} from "./program.ts";

/** A measured disk's round of 30 s, and the sweep that sees it. */
const QUOTA_MS_MAX = 75_000;
/** A sweep, on a busy machine. */
const LOST_MS_MAX = 40_000;

/** The engine kills thousands of processes that fork meanwhile. */
const ENDED_MS_MAX = 30_000;
/** From the death of the agent to the engine's record of the container's. */
const DYING_MS_MAX = 1000;

let dataDir: string;
let program: Program;
let client: Client;

beforeAll(async () => {
  dataDir = await temporaryDir();
  program = await startReady({ dataDir, port: await freePort(), providers: "docker" });
  client = createClient(program.url, secretsOf(dataDir).apiKey);
});
afterAll(() => cleanUp(program, dataDir));

/** A small sandbox of the running test's own. */
async function victim(body: Readonly<Record<string, unknown>> = {}): Promise<Sandbox> {
  const sandbox = await client.sandbox(body);
  onTestFinished(async () => void (await sandbox.kill()));
  return sandbox;
}

/** Runs what may end in any way; what counts is what is there afterwards. */
async function abuse(sandbox: Sandbox, command: string, timeoutMs = 10_000): Promise<void> {
  await sandbox.commands.run(command, { timeoutMs }).catch(() => {});
}

/** The sandbox answers to a new command, and so does the server. */
async function expectHealthy(sandbox: Sandbox): Promise<void> {
  const answer = await poll("the sandbox to answer", 30_000, async () => {
    const result = await sandbox.commands.run("echo alive", { timeoutMs: 10_000 }).catch(() => {});
    return result?.stdout;
  });
  expect(answer).toBe("alive\n");
  expect((await client.get(sandbox.sandboxId)).state).toBe("running");
}

describe("what the server notices from outside", () => {
  // They wait for the server's rounds, so they wait together.
  it.concurrent("ends a sandbox that fills its disk, with the reason quota", async () => {
    const sandbox = await client.sandbox({
      resources: { cpuMilli: 500, memoryMib: 256, diskMib: 64 },
    });
    // Enough to count, too little to hurt the machine; a bounded disk stops it earlier.
    const fill = await sandbox.commands
      .run("dd if=/dev/zero of=/home/user/fill bs=1M count=160 2>&1")
      .catch((error: unknown) => error);
    if (fill instanceof CommandExitError) {
      expect(`${fill.stdout}${fill.stderr}`).toMatch(/no space left|quota/i);
      await sandbox.kill();
      return;
    }

    const row = await poll("the end of the sandbox", QUOTA_MS_MAX, async () => {
      const row = await client.get(sandbox.sandboxId);
      return isFinal(row.state) ? row : undefined;
    });

    expect(row).toMatchObject({ state: "terminated", endReason: "quota" });
  });

  it.concurrent("ends a sandbox that kills its agent as lost, and charges it no longer", async () => {
    const sandbox = await client.sandbox();
    await abuse(sandbox, "sudo kill -9 $(pgrep -f '^/.soulbox/agent')", 5000);
    const killedMs = Date.now();

    const row = await poll("the loss", LOST_MS_MAX, async () => {
      const row = await client.get(sandbox.sandboxId);
      return isFinal(row.state) ? row : undefined;
    });

    expect(row).toMatchObject({ state: "failed", endReason: "lost" });
    const { entries, accruedNanoUsd } = await client.cost(sandbox.sandboxId);
    const close = entries.find(({ kind }) => kind === "close");
    expect(Date.parse(close?.at ?? "")).toBeLessThanOrEqual(killedMs + DYING_MS_MAX);
    expect(accruedNanoUsd).toBe("0");
    await expect(sandbox.commands.run("true")).rejects.toThrow();
    await poll("its dead container to go", LOST_MS_MAX, async () => {
      const there = await containersOf(dataDir);
      return there.some(({ sandboxId }) => sandboxId === sandbox.sandboxId) ? undefined : true;
    });
  });
});

describe("a sandbox", () => {
  it("keeps its fork bomb to itself, and can be ended", async () => {
    const sandbox = await victim();
    const neighbour = await victim();

    await abuse(sandbox, "bomb() { bomb | bomb & }; bomb; sleep 2", 2000);

    await expectHealthy(neighbour);
    expect((await fetch(`${client.url}/health`)).status).toBe(200);
    await sandbox.kill();
    await poll("its container to go", ENDED_MS_MAX, async () => {
      const there = await containersOf(dataDir);
      return there.some(({ sandboxId }) => sandboxId === sandbox.sandboxId) ? undefined : true;
    });
    expect(await client.get(sandbox.sandboxId)).toMatchObject({ endReason: "requested" });
  });

  it("outlives a program that takes all memory", async () => {
    const sandbox = await victim({ resources: { cpuMilli: 1000, memoryMib: 128, diskMib: 512 } });

    const hog = "python3 -c 'x = []\nwhile True: x.append(bytearray(8 << 20))'";
    const error = await sandbox.commands.run(hog, { timeoutMs: 20_000 }).catch((it: unknown) => it);

    expect(error).toBeInstanceOf(Error);
    await expectHealthy(sandbox);
  });

  it("outlives a user who kills everything that he may", async () => {
    const sandbox = await victim();

    await abuse(sandbox, "kill -9 -1", 5000);

    await expectHealthy(sandbox);
  });

  it("collects the dead of a farm of zombies", async () => {
    const sandbox = await victim();

    await abuse(sandbox, "for i in $(seq 200); do (sleep 0.01 & exec true) & done; wait");
    await abuse(
      sandbox,
      "python3 -c 'import os\nfor i in range(200):\n  if os.fork() == 0: os._exit(0)'",
    );

    await expectHealthy(sandbox);
    const left = await poll("the dead to be collected", 10_000, async () => {
      const { stdout } = await sandbox.commands.run(
        "cat /proc/[0-9]*/stat 2>/dev/null | grep -c ') Z ' || true",
      );
      return Number(stdout) === 0 ? 0 : undefined;
    });
    expect(left).toBe(0);
  });

  it("floods a slow reader without filling the server's memory", async () => {
    const sandbox = await victim({ resources: { cpuMilli: 1000, memoryMib: 256, diskMib: 512 } });
    const beforeMib = residentMib(program.pid);

    const { receivedMib, highestMib } = await readSlowly(sandbox.sandboxId, 4000);

    expect(receivedMib).toBeGreaterThan(0);
    expect(highestMib - beforeMib).toBeLessThan(96);
    await expectHealthy(sandbox);
  });
});

describe("the network of a sandbox", () => {
  let secret: Server;
  let port: number;

  beforeAll(async () => {
    port = await freePort();
    secret = createServer((_request, response) => response.end("secret of the host"));
    secret.listen(port, "0.0.0.0");
    await once(secret, "listening");
  });
  afterAll(() => void secret.close());

  it("doesn't lead to the host, to the server or to a cloud's metadata", async () => {
    const sandbox = await victim();
    const { stdout } = await sandbox.commands.run(
      "ip route | sed -n 's/^default via \\([^ ]*\\).*/\\1/p'",
    );
    const gateway = stdout.trim();
    expect(gateway).toMatch(/^\d+\.\d+\.\d+\.\d+$/);
    const server = new URL(program.url).port;
    const targets = [
      `127.0.0.1:${port}`,
      `127.0.0.1:${server}`,
      `${gateway}:${port}`,
      `${gateway}:${server}`,
      "169.254.169.254",
      "169.254.170.2",
    ];

    const answers = await Promise.all(
      targets.map(async (target) => {
        const command = `curl -s -m 3 -o /dev/null -w '%{http_code}' http://${target}/ || true`;
        return `${target} ${(await sandbox.commands.run(command)).stdout}`;
      }),
    );

    expect(answers).toEqual(targets.map((target) => `${target} 000`));
  });
});

it("after all of it the store keeps every invariant", async () => {
  expect(await runScript("functions/verify.ts", [dataDir])).toMatchObject({ exit: 0 });
});

/** Takes a flood of output at a fraction of its speed; watches the server's memory meanwhile. */
async function readSlowly(
  sandboxId: string,
  forMs: number,
): Promise<{ readonly receivedMib: number; readonly highestMib: number }> {
  const { agent } = await client.get(sandboxId);
  const message = JSON.stringify({ process: { cmd: "/usr/bin/yes", args: ["flood".repeat(200)] } });
  const frame = Buffer.alloc(5 + Buffer.byteLength(message));
  frame.writeUInt32BE(Buffer.byteLength(message), 1);
  frame.write(message, 5);
  const asked = request(`${client.url}/process.Process/Start`, {
    method: "POST",
    headers: {
      "e2b-sandbox-id": sandboxId,
      "x-access-token": agent?.accessToken ?? "",
      "content-type": "application/connect+json",
      "connect-protocol-version": "1",
    },
  });
  asked.on("error", () => {});
  asked.end(frame);
  const [response] = await once(asked, "response");
  const untilMs = performance.now() + forMs;
  let received = 0;
  let highestMib = 0;
  while (performance.now() < untilMs) {
    received += response.read(64 * 1024)?.length ?? 0;
    highestMib = Math.max(highestMib, residentMib(program.pid));
    await delay(50);
  }
  asked.destroy();
  return { receivedMib: received / 2 ** 20, highestMib };
}

function residentMib(pid: number): number {
  const kib = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  return Number(kib) / 1024;
}
