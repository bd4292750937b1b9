import { memoryProvider, memoryVendor, systemClock } from "@soulbox/adapter-memory";
import { PROVIDER_FAULTS } from "@soulbox/core";
import { providerContract } from "./provider.contract.ts";

providerContract("memory", async () => {
  const vendor = memoryVendor();
  const clock = systemClock();
  const provider = memoryProvider({ name: "memory", stage: "one", clock, vendor, pageSize: 2 });
  const failing = memoryVendor();
  const broken = memoryProvider({ name: "broken", clock, vendor: failing });
  const { signal } = new AbortController();
  return {
    provider,
    stage: "one",
    neighbour: {
      provider: memoryProvider({ name: "memory", stage: "two", clock, vendor }),
      stage: "two",
    },
    template: {
      id: "base",
      names: ["base"],
      folder: "",
      args: {},
      resources: { cpuMilli: 1000, memoryMib: 512, diskMib: 1024 },
    },
    reach: async ({ launchId }) => vendor.instances.get(launchId)?.phase === "running",
    identity: async ({ launchId }) => vendor.instances.get(launchId)?.nativeId ?? "none",
    labels: async (launchId) => vendor.instances.get(launchId)?.labels ?? {},
    leftovers: async () => [...vendor.instances.keys()],
    provoke: Object.fromEntries(
      PROVIDER_FAULTS.map((fault) => [
        fault,
        () => {
          failing.failing = fault;
          return broken.list("here", undefined, signal);
        },
      ]),
    ),
    close: async () => {},
  };
});
