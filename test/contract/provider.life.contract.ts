import { randomBytes } from "node:crypto";
import { launchIdOf, parseLaunchId, type SandboxId } from "@soulbox/core";
import { AGENT_ENV } from "@soulbox/protocol";
import { beforeEach, describe, expect, it } from "vitest";
import {
  bounded,
  CALL_MS_MAX,
  newSandboxId,
  nextTurn,
  type ProviderWorld,
  signal,
} from "./provider-world.ts";

/** How an instance comes into being, is seen and goes. */
export function providerLife(open: () => ProviderWorld): void {
  let world: ProviderWorld;
  beforeEach(() => {
    world = open();
  });

  describe("launch", () => {
    it("is accepted, and the agent answers at the reported address", async () => {
      const seen = await world.running();

      const again = await world.inspect(seen.launchId, seen.nativeId);

      expect(again).toMatchObject({ launchId: seen.launchId, phase: "running" });
      expect(again.agentAddress).toBe(seen.agentAddress);
      expect(again.startedAtMs).toBeTypeOf("number");
      expect(again.endedAtMs).toBeUndefined();
      expect(again.breach).toBeUndefined();
    });

    it("makes one instance for one launch id, asked three times at once", async () => {
      const asked = world.request();

      const answers = await Promise.all([
        world.launch(asked),
        world.launch(asked),
        world.launch(asked),
      ]);

      const found = (await world.listed()).filter((seen) => seen.launchId === asked.launchId);
      expect(found).toHaveLength(1);
      for (const answer of answers) expect(answer.launchId).toBe(asked.launchId);
      expect(new Set(answers.map((answer) => answer.nativeId)).size).toBe(1);
    });

    it("makes one instance for one launch id, asked three times in a row", async () => {
      const asked = world.request();

      const answers = [
        await world.launch(asked),
        await world.launch(asked),
        await world.launch(asked),
      ];

      const found = (await world.listed()).filter((seen) => seen.launchId === asked.launchId);
      expect(found).toHaveLength(1);
      expect(new Set(answers.map((answer) => answer.nativeId)).size).toBe(1);
    });

    it("keeps two launches of one sandbox apart", async () => {
      const first = world.request();
      const sandboxId = parseLaunchId(first.launchId)?.sandboxId;
      const launchId = launchIdOf(sandboxId as SandboxId, 2);
      const labels = { ...first.labels, "soulbox.launch": launchId };
      const second = { ...first, launchId, labels };
      world.endAfterwards(launchId);

      await Promise.all([world.launch(first), world.launch(second)]);
      await world.provider.terminate(world.refOf(first.launchId), signal());

      expect((await world.inspect(first.launchId)).phase).toBe("gone");
      expect((await world.inspect(second.launchId)).phase).not.toBe("gone");
    });

    it("labels the instance as asked, and with nothing of the agent's environment", async () => {
      const asked = world.request();
      const canary = randomBytes(16).toString("hex");

      await world.launch({ ...asked, agentEnv: { ...asked.agentEnv, SOULBOX_CANARY: canary } });

      const labels = await world.harness.labels(asked.launchId);
      expect(labels).toMatchObject(asked.labels);
      const text = JSON.stringify(labels);
      expect(text).not.toContain(canary);
      expect(text).not.toContain(asked.agentEnv[AGENT_ENV.initKey]);
    });
  });

  describe("inspect", () => {
    it("says gone for an instance that never was", async () => {
      const launchId = launchIdOf(newSandboxId(), 1);

      const answers = [
        await world.inspect(launchId),
        await world.inspect(launchId, "0123456789ab"),
      ];

      for (const answer of answers) {
        expect(answer).toMatchObject({ launchId, phase: "gone", agentAddress: undefined });
      }
    });

    it("finds an instance by its launch id alone", async () => {
      const seen = await world.running();

      const answers = [
        await world.inspect(seen.launchId),
        await world.inspect(seen.launchId),
        await world.inspect(seen.launchId),
      ];

      for (const answer of answers) expect(answer).toMatchObject({ phase: "running" });
      expect(answers[0]?.agentAddress).toBe(seen.agentAddress);
    });
  });

  describe("terminate", () => {
    it("removes the instance, and succeeds three times", async () => {
      const seen = await world.running();
      const ref = world.refOf(seen.launchId, seen.nativeId);

      await world.provider.terminate(ref, signal());
      await world.provider.terminate(ref, signal());
      await world.provider.terminate(ref, signal());

      expect((await world.inspect(seen.launchId, seen.nativeId)).phase).toBe("gone");
      expect(await world.lives(seen.launchId)).toBe(false);
      expect(await world.harness.reach(seen)).toBe(false);
      expect(await world.harness.leftovers()).toEqual([]);
    });

    it("succeeds three times at once, by launch id alone", async () => {
      const seen = await world.running();
      const ref = world.refOf(seen.launchId);

      await Promise.all([1, 2, 3].map(() => world.provider.terminate(ref, signal())));

      expect((await world.inspect(seen.launchId)).phase).toBe("gone");
      expect(await world.harness.leftovers()).toEqual([]);
    });

    it("succeeds for an instance that never was", async () => {
      const ref = world.refOf(launchIdOf(newSandboxId(), 1));

      await world.provider.terminate(ref, signal());
      await world.provider.terminate({ ...ref, nativeId: "0123456789ab" }, signal());
    });

    it.for([0, 1, 4, 16])(
      "coming %d turns into a launch, hides nothing, and leaves nothing once repeated",
      async (turns) => {
        const asked = world.request();
        const ref = world.refOf(asked.launchId);

        const launching = world.launch(asked).catch((error: unknown) => error);
        for (let turn = 0; turn < turns; turn += 1) await nextTurn();
        await world.provider.terminate(ref, signal());
        await bounded(launching, CALL_MS_MAX, "the launch settles");

        const { phase } = await world.inspect(asked.launchId);
        expect(await world.lives(asked.launchId)).toBe(phase !== "gone");
        await world.provider.terminate(ref, signal());
        expect((await world.inspect(asked.launchId)).phase).toBe("gone");
        expect(await world.lives(asked.launchId)).toBe(false);
        expect(await world.harness.leftovers()).toEqual([]);
      },
    );
  });
}
