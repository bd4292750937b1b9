import { existsSync } from "node:fs";
import { mkdir, rm } from "node:fs/promises";
import { connect, createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import type { DockerProvider } from "@soulbox/adapter-docker";
import {
  epochMs,
  type LaunchId,
  type LaunchRequest,
  launchIdOf,
  type SandboxId,
} from "@soulbox/core";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import {
  BRIDGE_DEFAULT,
  egressScript,
  RESOLVERS_SCRIPT,
  resolversOf,
} from "../../adapters/docker/egress.ts";
import { runByHelper, runHere } from "../../adapters/docker/host.ts";
import { containerName } from "../../adapters/docker/translate.ts";
import { type Engine, ensureEngine } from "../engine.ts";
import {
  type DockerBench,
  IMAGE,
  networkWith,
  openBench,
  reachAgent,
  TEMPLATE,
} from "./docker-harness.ts";

describe("docker in trouble", { timeout: 120_000 }, () => {
  let bench: DockerBench;
  let engine: Engine;
  let provider: DockerProvider;
  let count = 0;
  const launched: LaunchId[] = [];
  const { signal } = new AbortController();

  beforeAll(async () => {
    engine = await ensureEngine(console.info);
    bench = await openBench(engine.socketPath);
    provider = bench.provider();
    await provider.load();
  }, 300_000);

  afterEach(async () => {
    for (const launchId of launched.splice(0)) await provider.terminate(refOf(launchId), signal);
  });

  afterAll(async () => {
    expect(await bench.leftovers()).toEqual([]);
    await bench.close();
    await engine.stop();
  });

  const request = (internet?: boolean): LaunchRequest => {
    count += 1;
    const launchId = launchIdOf(`t${String(count).padStart(24, "0")}` as SandboxId, 1);
    launched.push(launchId);
    return {
      launchId,
      region: "local",
      template: TEMPLATE,
      resources: TEMPLATE.resources,
      network: { ...NETWORK, internet },
      agentEnv: {},
      labels: { "soulbox.stage": bench.stage, "soulbox.launch": launchId },
      terminateByMs: epochMs(Date.now() + 600_000),
    };
  };

  const faultOf = async (owner: DockerProvider, call: Promise<unknown>): Promise<string> =>
    call.then(
      () => "none",
      (error: unknown) => owner.classify(error),
    );

  describe("an engine that is down", () => {
    it("is unavailable in every call, and serves again once it is back", async () => {
      const path = join(bench.runDir, "..", "down.sock");
      const owner = bench.provider({ docker: path });
      const asked = request();
      const ref = refOf(asked.launchId);

      const faults = [
        await faultOf(owner, owner.load()),
        await faultOf(owner, owner.launch(asked, signal)),
        await faultOf(owner, owner.inspect(ref, signal)),
        await faultOf(owner, owner.list("local", undefined, signal)),
        await faultOf(owner, owner.terminate(ref, signal)),
      ];
      const door = await openDoor(path, (socket) => {
        const inner = connect(engine.socketPath);
        socket.pipe(inner).pipe(socket);
        inner.on("error", () => socket.destroy());
      });
      const seen = await owner.launch(asked, signal);
      await door.close();
      const after = await faultOf(owner, owner.inspect(ref, signal));

      expect(faults).toEqual(Array(5).fill("unavailable"));
      expect(seen.phase).toBe("running");
      expect(after).toBe("unavailable");
    });

    it("says so among the gaps, and lets everything fit until it is known", () => {
      const { traits } = bench.provider({ docker: "/nowhere.sock" });

      expect(traits.gaps).toEqual(["the engine has not answered yet"]);
      expect(traits.fit({ resources: TEMPLATE.resources, network: NETWORK })).toEqual({
        resources: TEMPLATE.resources,
      });
    });

    it("is a timeout when it takes calls and never answers", async () => {
      const path = join(bench.runDir, "..", "hung.sock");
      const door = await openDoor(path, () => {});
      const owner = bench.provider({ docker: path });
      const ref = refOf(request().launchId);
      const soon = () => AbortSignal.timeout(50);

      const faults = [
        await faultOf(owner, owner.launch(request(), soon())),
        await faultOf(owner, owner.inspect(ref, soon())),
        await faultOf(owner, owner.list("local", undefined, soon())),
        await faultOf(owner, owner.terminate(ref, soon())),
      ];
      await door.close();

      expect(faults).toEqual(Array(4).fill("timeout"));
    });

    it("is unavailable when it dies in the middle of an answer", async () => {
      const path = join(bench.runDir, "..", "cut.sock");
      const door = await openDoor(path, (socket) => {
        socket.once("data", () => {
          socket.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[{");
          setImmediate(() => socket.destroy());
        });
      });
      const owner = bench.provider({ docker: path });

      const fault = await faultOf(owner, owner.list("local", undefined, AbortSignal.timeout(2000)));
      await door.close();

      expect(["unavailable", "timeout"]).toContain(fault);
    });
  });

  describe("a launch", () => {
    it("that is terminated while under way leaves nothing, without asking twice", async () => {
      for (const waitTurns of [0, 3, 30, 300]) {
        const asked = request(false);
        const launching = provider.launch(asked, signal).catch((error: unknown) => error);
        for (let turn = 0; turn < waitTurns; turn += 1) await nextTurn();

        await provider.terminate(refOf(asked.launchId), signal);
        await launching;

        expect(await bench.leftovers()).toEqual([]);
      }
    });

    it("whose image vanished is unavailable, and the image is forgotten", async () => {
      const forgotten: string[] = [];
      const image = "soulbox/never:built";
      const owner = bench.provider({
        images: {
          load: async () => {},
          prepare: () => ({ state: "ready", image }),
          forget: (name) => void forgotten.push(name),
        },
      });

      const fault = await faultOf(owner, owner.launch(request(), signal));

      expect(fault).toBe("unavailable");
      expect(forgotten).toEqual([image]);
    });

    it("that finds its container ended says gone and does not start it again", async () => {
      const asked = request();
      await provider.launch(asked, signal);
      const container = bench.client.getContainer(containerName(bench.stage, asked.launchId));
      await container.kill();
      await container.wait();

      const again = await provider.launch(asked, signal);

      expect(again.phase).toBe("gone");
      expect((await container.inspect()).State.Running).toBe(false);
    });

    it("that finds its container made but not started starts it", async () => {
      const asked = request();
      const name = containerName(bench.stage, asked.launchId);
      await bench.client.createContainer({
        name,
        Image: IMAGE,
        Cmd: ["sleep", "60"],
        Labels: { ...asked.labels },
      });

      const seen = await provider.launch(asked, signal);

      expect(seen.phase).toBe("running");
    });

    it("is refused when the engine can't give what is asked", async () => {
      const asked = request();
      const resources = { ...asked.resources, cpuMilli: 64_000 };

      const thrown = await provider
        .launch({ ...asked, resources }, signal)
        .catch((error: unknown) => error);

      expect(provider.classify(thrown)).toBe("invalid");
      expect(String(thrown)).toMatch(/The engine has \d+ CPUs, not 64\./);
    });

    it("of ten at once makes ten, four at a time", async () => {
      const asked = Array.from({ length: 10 }, () => request(false));

      const seen = await Promise.all(asked.map((one) => provider.launch(one, signal)));

      expect(seen.map(({ phase }) => phase)).toEqual(Array(10).fill("running"));
      expect(new Set(seen.map(({ agentAddress }) => agentAddress)).size).toBe(10);
      for (const one of seen) await expect.poll(() => reachAgent(one)).toBe(true);
    });
  });

  describe("what a killed server left", () => {
    it("goes at load when no container uses it, and stays when one does", async () => {
      const asked = request(false);
      await provider.launch(asked, signal);
      const used = join(bench.runDir, containerName(bench.stage, asked.launchId));
      const stale = join(bench.runDir, `soulbox-${bench.stage}-${"0".repeat(24)}`);
      const foreign = join(bench.runDir, `soulbox-${bench.stage}x-${"0".repeat(24)}`);
      await Promise.all([mkdir(stale), mkdir(foreign)]);

      await bench.provider().load();

      expect([used, stale, foreign].map((path) => existsSync(path))).toEqual([true, false, true]);
      await rm(foreign, { recursive: true });
    });
  });

  describe("a server that is not root", () => {
    it("has the rules laid by a helper on the engine's host, which leaves nothing", async () => {
      const helper = runByHelper(bench.client, IMAGE);

      const text = await helper(RESOLVERS_SCRIPT, signal);
      await helper(egressScript(BRIDGE_DEFAULT, resolversOf(text)), signal);

      expect(resolversOf(text)).toEqual(resolversOf(await runHere(RESOLVERS_SCRIPT, signal)));
      const filters = { label: ["soulbox.helper"] };
      expect(await bench.client.listContainers({ all: true, filters })).toEqual([]);
    });

    it("learns why a helper failed", async () => {
      const helper = runByHelper(bench.client, IMAGE);

      await expect(helper("echo no such table >&2; exit 3", signal)).rejects.toThrow(
        "The helper on the engine's host failed (3): no such table",
      );
    });
  });
});

const NETWORK = networkWith(undefined);

function refOf(launchId: LaunchId) {
  return { region: "local", launchId, nativeId: undefined };
}

/** A socket in the engine's place. */
async function openDoor(
  path: string,
  onConnection: (socket: Socket) => void,
): Promise<{ close(): Promise<unknown> }> {
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    onConnection(socket);
  });
  server.listen(path);
  await new Promise((resolve) => server.once("listening", resolve));
  return {
    close: () => {
      for (const socket of sockets) socket.destroy();
      return new Promise((resolve) => server.close(resolve));
    },
  };
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
