import { afterAll, afterEach, beforeAll, describe, expect } from "vitest";
import { providerCalls } from "./provider.calls.contract.ts";
import { providerLife } from "./provider.life.contract.ts";
import { providerTraits } from "./provider.traits.contract.ts";
import { CALL_MS_MAX, type ProviderHarness, ProviderWorld } from "./provider-world.ts";

/**
 * What every provider promises, as tests. A group is skipped only when the provider object lacks
 * it; faults that a harness can't provoke show up as skipped.
 *
 * @param name Shown in the results, `docker` for example.
 * @param open Called once, before the first test.
 */
export function providerContract(name: string, open: () => Promise<ProviderHarness>): void {
  describe(`Provider contract: ${name}`, { timeout: 3 * CALL_MS_MAX }, () => {
    let world: ProviderWorld;

    beforeAll(async () => {
      world = new ProviderWorld(await open());
      await world.prepare();
    }, 15 * CALL_MS_MAX);

    afterEach(() => world.tidy());

    afterAll(async () => {
      if (world === undefined) return;
      const left = await world.harness.leftovers();
      await world.harness.close();
      expect(left).toEqual([]);
    }, 2 * CALL_MS_MAX);

    providerTraits(() => world);
    providerLife(() => world);
    providerCalls(() => world);
  });
}
