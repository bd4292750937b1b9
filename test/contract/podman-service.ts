import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import Dockerode from "dockerode";
import { run } from "../../adapters/docker/debian.ts";
import type { Engine } from "../engine.ts";

/** Podman gets a bridge of its own: Docker's may be in the same network. */
export const PODMAN_OPTIONS = { name: "podman", bridge: "soulbox1" };

/** Longest time until the service answers, milliseconds. */
const START_MS_MAX = 30_000;

/** Why Podman can't be tested here; `undefined` when it can. */
export async function reasonOfAbsence(): Promise<string | undefined> {
  if (process.getuid?.() !== 0) return "this process is not root";
  try {
    await run("podman", ["--version"]);
  } catch {
    return "podman is not installed";
  }
  // Debian only recommends these, and a sandbox can't be made or removed without them.
  const paths = ["/usr/libexec/podman/catatonit", "/usr/bin/catatonit"];
  if (!paths.some(existsSync)) return "podman has no catatonit";
  return existsSync("/usr/lib/podman/aardvark-dns") ? undefined : "podman has no aardvark-dns";
}

/** Podman's service on a socket of its own. */
export async function startPodman(): Promise<Engine> {
  const dir = await mkdtemp(join(tmpdir(), "sbx-podman-"));
  const socketPath = join(dir, "podman.sock");
  const service = spawn("podman", ["system", "service", "--time=0", `unix://${socketPath}`], {
    stdio: "ignore",
    env: { ...process.env, PODMAN_IGNORE_CGROUPSV1_WARNING: "1" },
  });
  const stop = async () => {
    await end(service);
    await rm(dir, { recursive: true, force: true });
  };
  const client = new Dockerode({ socketPath });
  const deadline = performance.now() + START_MS_MAX;
  for (;;) {
    try {
      await client.ping();
      return { socketPath, stop };
    } catch (error) {
      if (performance.now() < deadline && service.exitCode === null) await delay(50);
      else {
        await stop();
        throw error;
      }
    }
  }
}

async function end(service: ChildProcess): Promise<void> {
  if (service.exitCode !== null) return;
  const ended = new Promise((resolve) => service.once("exit", resolve));
  service.kill("SIGTERM");
  await ended;
}
