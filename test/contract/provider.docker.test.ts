import { type InstanceRef, type LaunchId, launchIdOf, type SandboxId } from "@soulbox/core";
import Dockerode from "dockerode";
import { ensureEngine } from "../engine.ts";
import { type DockerBench, networkWith, openDockerHarness } from "./docker-harness.ts";
import { providerContract } from "./provider.contract.ts";
import type { ProviderHarness } from "./provider-world.ts";

providerContract("docker, bridge", async () => {
  const engine = await ensureEngine(console.info);
  const harness = await openDockerHarness(engine.socketPath, provoke);
  return stopping({ ...harness, network: networkWith(true) }, engine.stop);
});

providerContract("docker, no network", async () => {
  const engine = await ensureEngine(console.info);
  const harness = await openDockerHarness(engine.socketPath, () => ({}));
  return stopping({ ...harness, network: networkWith(false) }, engine.stop);
});

providerContract("docker, published ports", async () => {
  const engine = await ensureEngine(console.info);
  const options = { publishPorts: true };
  const harness = await openDockerHarness(engine.socketPath, () => ({}), options);
  return stopping({ ...harness, network: networkWith(true) }, engine.stop);
});

function stopping(harness: ProviderHarness, stop: () => Promise<void>): ProviderHarness {
  const close = async () => {
    await harness.close();
    await stop();
  };
  return { ...harness, close };
}

/** Faults of the engine itself; what only words distinguish is tested where they are told apart. */
function provoke(bench: DockerBench): ProviderHarness["provoke"] {
  const { signal } = new AbortController();
  const missing: InstanceRef = {
    region: "local",
    launchId: launchIdOf(`p${"0".repeat(24)}` as SandboxId, 1) as LaunchId,
    nativeId: undefined,
  };
  const down = new Dockerode({ socketPath: `${bench.runDir}/no-engine.sock` });
  return {
    not_found: async () => bench.provider().suspend?.pause(missing, signal),
    timeout: () => {
      const late = AbortSignal.abort(new DOMException("Too late.", "TimeoutError"));
      return bench.provider().list("local", undefined, late);
    },
    unavailable: () => bench.provider({ docker: down }).list("local", undefined, signal),
    already_exists: async () => {
      const options = { name: `soulbox-${bench.stage}-twin`, Image: "debian:trixie-slim" };
      const first = await bench.client.createContainer(options);
      try {
        return await bench.client.createContainer(options);
      } finally {
        await first.remove({ force: true });
      }
    },
    invalid: () =>
      bench.client.createContainer({ Image: "debian:trixie-slim", HostConfig: { Memory: 1000 } }),
  };
}
