import { once } from "node:events";
import { rm } from "node:fs/promises";
import { connect, createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { type Client, createClient, problemOf } from "./client.ts";
import {
  cleanUp,
  containersOf,
  freePort,
  type Program,
  type ProgramOptions,
  poll,
  runScript,
  secretsOf,
  startReady,
  temporaryDir,
} from "./program.ts";

const ENGINE_SOCKET = (process.env.DOCKER_HOST ?? "").startsWith("unix://")
  ? (process.env.DOCKER_HOST ?? "").slice("unix://".length)
  : "/var/run/docker.sock";
/** The server asks again at its next sweep or create. */
const BACK_MS_MAX = 60_000;

describe("a server whose engine isn't there", () => {
  let dataDir: string;
  let options: ProgramOptions;
  let program: Program;
  let client: Client;
  let door: Door;

  beforeAll(async () => {
    dataDir = await temporaryDir();
    door = createDoor(join(dataDir, "engine.sock"));
    options = {
      dataDir,
      port: await freePort(),
      providers: "docker",
      env: { DOCKER_HOST: `unix://${dataDir}/engine.sock` },
    };
    program = await startReady(options);
    client = createClient(program.url, secretsOf(dataDir).apiKey);
  });
  afterAll(async () => {
    await door.close();
    await cleanUp(program, dataDir);
  });

  it("starts and says so plainly", () => {
    expect(program.output()).toContain("the engine has not answered yet");
    expect(program.output()).toContain("The proof sandbox failed");
    expect(program.output()).toContain("The server stays up");
  });

  it("answers a create with 503, and with when to ask again", async () => {
    const answer = await client.create();

    expect(answer).toMatchObject({ status: 503, body: { status: 503, retryable: true } });
    expect(Number(answer.headers.get("retry-after"))).toBeGreaterThanOrEqual(1);
    expect(problemOf(answer).detail).toMatch(/engine|docker/i);
  });

  it("stays up, charges nothing and holds no quota", async () => {
    await client.create();

    expect((await client.call("GET", "/health")).status).toBe(200);
    expect(await client.ledger()).toEqual([]);
    expect((await client.list()).filter(({ endReason }) => endReason === null)).toEqual([]);
    expect(await runScript("functions/verify.ts", [dataDir])).toMatchObject({ exit: 0 });
  });

  it("serves creates as soon as the engine is there", async () => {
    await door.open();

    const status = await poll("a create to succeed", BACK_MS_MAX, async () => {
      const answer = await client.create();
      return answer.status === 201 ? answer.status : undefined;
    });

    expect(status).toBe(201);
    expect(await containersOf(dataDir)).toHaveLength(1);
  });

  it("stops with the engine gone, and ends at its next start what it had to leave", async () => {
    await door.close();
    expect(await program.kill("SIGTERM")).toBe(0);
    await door.open();

    program = await startReady(options);

    await poll("the container to go", BACK_MS_MAX, async () => {
      return (await containersOf(dataDir)).length === 0 ? true : undefined;
    });
    const [row] = (await client.list()).filter(({ startedAt }) => startedAt !== null);
    expect(row).toMatchObject({ state: "terminated", endReason: "operator" });
  });
});

describe("an engine that goes away and comes back", () => {
  let dataDir: string;
  let program: Program;
  let client: Client;
  let door: Door;

  beforeAll(async () => {
    dataDir = await temporaryDir();
    door = createDoor(join(dataDir, "engine.sock"));
    await door.open();
    program = await startReady({
      dataDir,
      port: await freePort(),
      providers: "docker",
      env: { DOCKER_HOST: `unix://${dataDir}/engine.sock` },
    });
    client = createClient(program.url, secretsOf(dataDir).apiKey);
  });
  afterEach(() => door.open());
  afterAll(async () => {
    await door.close();
    await cleanUp(program, dataDir);
  });

  it("leaves running sandboxes usable, and refuses new ones with 503 and no charge", async () => {
    const sandbox = await client.sandbox();
    const before = await client.ledger();
    await door.close();

    expect((await sandbox.commands.run("echo here")).stdout).toBe("here\n");
    const refused = await client.create();

    expect(refused.status).toBe(503);
    expect(await client.ledger()).toEqual(before);
    expect(await client.get(sandbox.sandboxId)).toMatchObject({ state: "running" });
  });

  it("serves creates again without a new start", async () => {
    await door.close();
    expect((await client.create()).status).toBe(503);
    await door.open();

    const created = await poll("a create to succeed", BACK_MS_MAX, async () => {
      const answer = await client.create();
      return answer.status === 201 ? answer : undefined;
    });

    expect(created.status).toBe(201);
  });

  it("removes what was ended meanwhile, once it is back", async () => {
    const sandbox = await client.sandbox();
    await door.close();
    await client.call("DELETE", `/v1/sandboxes/${sandbox.sandboxId}`);
    await door.open();

    await poll("the container to go", BACK_MS_MAX, async () => {
      const there = await containersOf(dataDir);
      return there.some(({ sandboxId }) => sandboxId === sandbox.sandboxId) ? undefined : true;
    });

    const row = await client.get(sandbox.sandboxId);
    expect(row).toMatchObject({ state: "terminated", endReason: "requested" });
  });
});

/** A socket before the engine's own, that can be shut. */
interface Door {
  open(): Promise<void>;
  /** Cuts what is under way, and refuses connections from now on. */
  close(): Promise<void>;
}

function createDoor(path: string): Door {
  const sockets = new Set<Socket>();
  let server: Server | undefined;
  const keep = (socket: Socket) => {
    sockets.add(socket);
    socket.on("error", () => {}).once("close", () => sockets.delete(socket));
  };
  return {
    async open() {
      if (server !== undefined) return;
      server = createServer({ allowHalfOpen: true }, (near) => {
        const far = connect({ path: ENGINE_SOCKET, allowHalfOpen: true });
        keep(near);
        keep(far);
        near.pipe(far).pipe(near);
        near.once("close", () => far.destroy());
        far.once("close", () => near.destroy());
      });
      server.listen(path);
      await once(server, "listening");
    },
    async close() {
      const closing = server;
      server = undefined;
      closing?.close();
      for (const socket of sockets) socket.destroy();
      await rm(path, { force: true });
    },
  };
}
