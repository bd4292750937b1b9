import { launchIdOf, PROVIDER_FAULTS } from "@soulbox/core";
import { beforeEach, describe, expect, it } from "vitest";
import {
  bounded,
  CALL_MS_MAX,
  newSandboxId,
  nextTurn,
  type ProviderWorld,
  rejection,
  signal,
  until,
} from "./provider-world.ts";

/** An aborted call has let go within this time, milliseconds. */
const ABORT_MS_MAX = 3000;

/** What lists, aborted calls, pauses and errors promise. */
export function providerCalls(open: () => ProviderWorld): void {
  let world: ProviderWorld;
  beforeEach(() => {
    world = open();
  });

  describe("list", () => {
    it("pages to the end and finds exactly what this stage launched", async () => {
      const { provider: other } = world.harness.neighbour;
      const before = (await world.listed()).map((seen) => seen.launchId);
      const mine = [
        world.request(),
        world.request(),
        world.request(),
        world.request(),
        world.request(),
      ];
      const foreign = world.request(other);
      await Promise.all([
        ...mine.map((asked) => world.launch(asked)),
        world.launch(foreign, other),
      ]);

      const found = (await world.listed()).map((seen) => seen.launchId);
      const foundByOther = (await world.listed(other)).map((seen) => seen.launchId);

      expect(found.toSorted()).toEqual([...before, ...mine.map((it) => it.launchId)].toSorted());
      expect(foundByOther).toContain(foreign.launchId);
      expect(foundByOther.some((launchId) => found.includes(launchId))).toBe(false);
    });

    it("tells of an instance what inspect tells", async () => {
      const seen = await world.running();

      const found = (await world.listed()).find((one) => one.launchId === seen.launchId);

      expect(found).toMatchObject({ phase: "running", nativeId: seen.nativeId });
      expect(found?.startedAtMs).toBeTypeOf("number");
    });
  });

  describe("an aborted signal", () => {
    const aborted = AbortSignal.abort();

    it("stops inspect, list, terminate and launch before they begin", async () => {
      const asked = world.request();
      const ref = world.refOf(asked.launchId);

      const thrown = await Promise.all([
        rejection(world.provider.inspect(ref, aborted), ABORT_MS_MAX),
        rejection(world.provider.list(world.region, undefined, aborted), ABORT_MS_MAX),
        rejection(world.provider.terminate(ref, aborted), ABORT_MS_MAX),
        rejection(world.provider.launch(asked, aborted), ABORT_MS_MAX),
      ]);

      expect(thrown.map((error) => world.provider.classify(error))).toEqual(
        Array(4).fill("timeout"),
      );
      expect(await world.lives(asked.launchId)).toBe(false);
    });

    it.for([0, 1, 4, 16])("stops the wait of a launch after %d turns", async (turns) => {
      const asked = world.request();
      const controller = new AbortController();

      const settled = world.provider.launch(asked, controller.signal).then(
        () => undefined,
        (error: unknown) => error,
      );
      for (let turn = 0; turn < turns; turn += 1) await nextTurn();
      controller.abort(new DOMException("Too late.", "TimeoutError"));
      const thrown = await bounded(settled, ABORT_MS_MAX, "the launch lets go");

      if (thrown !== undefined) expect(world.provider.classify(thrown)).toBe("timeout");
      await world.provider.terminate(world.refOf(asked.launchId), signal());
    });
  });

  describe("suspend", () => {
    it("pauses and resumes, three times each: silent in between, the same process after", async ({
      skip,
    }) => {
      const { suspend } = world.provider;
      if (suspend === undefined) return skip("the provider has no suspend");
      const seen = await world.running();
      const ref = world.refOf(seen.launchId, seen.nativeId);
      const before = await world.harness.identity(seen);

      for (let time = 0; time < 3; time += 1) await suspend.pause(ref, signal());
      const paused = await world.inspect(seen.launchId, seen.nativeId);
      const answered = await world.harness.reach(seen);
      const inList = (await world.listed()).find((one) => one.launchId === seen.launchId);
      const resumed = [
        await suspend.resume(ref, signal()),
        await suspend.resume(ref, signal()),
        await suspend.resume(world.refOf(seen.launchId), signal()),
      ];

      expect(paused.phase).toBe("paused");
      expect(answered).toBe(false);
      expect(inList?.phase).toBe("paused");
      for (const answer of resumed) {
        expect(answer).toMatchObject({ launchId: seen.launchId, phase: "running" });
      }
      const last = await world.inspect(seen.launchId);
      await until(() => world.harness.reach(last), CALL_MS_MAX, "the agent answers again");
      expect(await world.harness.identity(last)).toBe(before);
    });

    it("terminates a paused instance", async ({ skip }) => {
      const { suspend } = world.provider;
      if (suspend === undefined) return skip("the provider has no suspend");
      const seen = await world.running();
      const ref = world.refOf(seen.launchId, seen.nativeId);
      await suspend.pause(ref, signal());

      await world.provider.terminate(ref, signal());

      expect((await world.inspect(seen.launchId)).phase).toBe("gone");
      expect(await world.harness.leftovers()).toEqual([]);
    });

    it("throws not_found for an instance that is gone", async ({ skip }) => {
      const { suspend } = world.provider;
      if (suspend === undefined) return skip("the provider has no suspend");
      const ref = world.refOf(launchIdOf(newSandboxId(), 1));

      const thrown = [
        await rejection(suspend.pause(ref, signal()), CALL_MS_MAX),
        await rejection(suspend.resume(ref, signal()), CALL_MS_MAX),
      ];

      expect(thrown.map((error) => world.provider.classify(error))).toEqual([
        "not_found",
        "not_found",
      ]);
    });
  });

  describe("classify", () => {
    it.for(PROVIDER_FAULTS)("names a provoked %s so", async (fault, { skip }) => {
      const provoke = world.harness.provoke[fault];
      if (provoke === undefined) return skip(`the world.harness can't provoke ${fault}`);

      const thrown = await rejection(provoke(), CALL_MS_MAX);

      expect(world.provider.classify(thrown)).toBe(fault);
    });

    it("never throws, whatever it is given", () => {
      const hostile = new Proxy(new Error("trap"), {
        get: () => {
          throw new Error("get");
        },
      });

      for (const thrown of [undefined, null, 0, "text", Symbol("s"), {}, [], hostile]) {
        expect(PROVIDER_FAULTS).toContain(world.provider.classify(thrown));
      }
    });
  });
}
