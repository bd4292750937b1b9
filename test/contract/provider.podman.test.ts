import { describe, it } from "vitest";
import { sandboxHardening } from "./docker.hardening.ts";
import { networkWith, openDockerHarness } from "./docker-harness.ts";
import { PODMAN_OPTIONS, reasonOfAbsence, startPodman } from "./podman-service.ts";
import { providerContract } from "./provider.contract.ts";

const absent = await reasonOfAbsence();

if (absent !== undefined) {
  describe("Provider contract: podman", () => {
    it.skip(`is not run: ${absent}`, () => {});
  });
} else {
  sandboxHardening("podman", startPodman, PODMAN_OPTIONS);

  for (const internet of [true, false]) {
    providerContract(internet ? "podman, bridge" : "podman, no network", async () => {
      const service = await startPodman();
      const opening = openDockerHarness(service.socketPath, () => ({}), PODMAN_OPTIONS);
      const harness = await opening.catch(async (error: unknown) => {
        await service.stop();
        throw error;
      });
      const close = async () => {
        await harness.close();
        await service.stop();
      };
      return { ...harness, network: networkWith(internet), close };
    });
  }
}
