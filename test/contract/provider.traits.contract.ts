import { beforeEach, describe, expect, it } from "vitest";
import { networkOf, type ProviderWorld } from "./provider-world.ts";

/** What a provider says of itself. */
export function providerTraits(open: () => ProviderWorld): void {
  let world: ProviderWorld;
  beforeEach(() => {
    world = open();
  });

  describe("traits", () => {
    it("name a region, a way of isolation and bounds that are longer than nothing", () => {
      const { traits } = world.provider;

      expect(traits.regions.length).toBeGreaterThan(0);
      expect(new Set(traits.regions).size).toBe(traits.regions.length);
      expect(traits.launchMsMax).toBeGreaterThan(0);
      expect(traits.readLagMs).toBeGreaterThanOrEqual(0);
      expect(["vm", "gvisor", "container", "namespace", "none"]).toContain(traits.isolation);
      for (const gap of traits.gaps) expect(gap).toMatch(/^\S.*[^.]$/);
    });

    it("fit never gives less than asked, gives the same each time, and keeps what it gave", () => {
      const { fit } = world.provider.traits;
      const network = networkOf(world.harness);
      const asked = {
        resources: world.harness.resources ?? world.harness.template.resources,
        network,
      };

      const [first, second, third] = [fit(asked), fit(asked), fit(asked)];

      expect(second).toEqual(first);
      expect(third).toEqual(first);
      if (!("resources" in first)) return expect.unreachable(first.refused);
      expect(first.resources.cpuMilli).toBeGreaterThanOrEqual(asked.resources.cpuMilli);
      expect(first.resources.memoryMib).toBeGreaterThanOrEqual(asked.resources.memoryMib);
      expect(first.resources.diskMib).toBeGreaterThanOrEqual(asked.resources.diskMib);
      expect(fit({ resources: first.resources, network })).toEqual(first);
    });

    it.for(["cpuMilli", "memoryMib", "diskMib"] as const)(
      "fit refuses %s beyond any machine, in a sentence",
      (dimension) => {
        const resources = { ...world.harness.template.resources, [dimension]: 1_000_000_000_000 };

        const fit = world.provider.traits.fit({ resources, network: networkOf(world.harness) });

        expect(fit).toEqual({ refused: expect.stringMatching(/^\S.*\.$/) });
      },
    );
  });
}
