import { generateKeyPairSync, randomBytes } from "node:crypto";
import {
  after,
  type Cursor,
  epochMs,
  type InstanceRef,
  type LaunchId,
  type LaunchRequest,
  launchIdOf,
  type Observation,
  PROVIDER_FAULTS,
  type Provider,
  type ProviderFault,
  parseLaunchId,
  type Resources,
  type SandboxId,
  type SandboxSpec,
  type Template,
} from "@soulbox/core";
import { AGENT_ENV } from "@soulbox/protocol";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";

/** What a runner hands to the suite: the implementation, and eyes on its vendor. */
export interface ProviderHarness {
  readonly provider: Provider;
  /** Value of the label `soulbox.stage` that the provider was set up with. */
  readonly stage: string;
  /** The same vendor, account and regions under another stage. */
  readonly neighbour: { readonly provider: Provider; readonly stage: string };
  /** What is launched. The suite has it prepared. */
  readonly template: Template;
  /** Size to ask for. Default: the template's. */
  readonly resources?: Resources;
  /** Network to ask for. Default: what the provider gives, open, without a bandwidth limit. */
  readonly network?: SandboxSpec["network"];
  /** Longest time until a template is ready, milliseconds. Default 10 minutes. */
  readonly prepareMsMax?: number;
  /** True when the agent at the observation's address answers `GET /health` within a second. */
  reach(observation: Observation): Promise<boolean>;
  /** Names the process behind an instance: another one, or a restarted one, gives another name. */
  identity(observation: Observation): Promise<string>;
  /** Labels as the vendor keeps them. */
  labels(launchId: LaunchId): Promise<Readonly<Record<string, string>>>;
  /** What is left at the vendor and on this host of instances that are gone, one name each. */
  leftovers(): Promise<readonly string[]>;
  /** Makes the vendor fail that way; each rejects with what the adapter threw. */
  readonly provoke: Partial<Record<ProviderFault, () => Promise<unknown>>>;
  close(): Promise<void>;
}

/** One call may take this long before the suite gives up, milliseconds. */
const CALL_MS_MAX = 60_000;
/** An aborted call has let go within this time, milliseconds. */
const ABORT_MS_MAX = 3000;

/**
 * What every provider promises, as tests. A group is skipped only when the provider object lacks
 * it; faults that a harness can't provoke show up as skipped.
 *
 * @param name Shown in the results, `docker` for example.
 * @param open Called once, before the first test.
 */
export function providerContract(name: string, open: () => Promise<ProviderHarness>): void {
  describe(`Provider contract: ${name}`, { timeout: 3 * CALL_MS_MAX }, () => {
    let harness: ProviderHarness;
    let provider: Provider;
    let region: string;
    const launched = new Map<LaunchId, Provider>();

    beforeAll(async () => {
      harness = await open();
      provider = harness.provider;
      region = provider.traits.regions[0] ?? "";
      await prepared(provider, harness);
      await prepared(harness.neighbour.provider, harness);
    }, 15 * CALL_MS_MAX);

    afterEach(async () => {
      for (const [launchId, owner] of launched) await owner.terminate(refOf(launchId), signal());
      launched.clear();
    });

    afterAll(async () => {
      if (harness === undefined) return;
      const left = await harness.leftovers();
      await harness.close();
      expect(left).toEqual([]);
    }, 2 * CALL_MS_MAX);

    const refOf = (launchId: LaunchId, nativeId?: string): InstanceRef => ({
      region,
      launchId,
      nativeId,
    });

    /** A request of the stage, with an id that nothing else has; ended after the test. */
    const request = (owner: Provider = provider): LaunchRequest => {
      const launchId = launchIdOf(newSandboxId(), 1);
      launched.set(launchId, owner);
      const stage = owner === provider ? harness.stage : harness.neighbour.stage;
      return requestFor(harness, owner, { launchId, region, stage });
    };

    const launch = (asked: LaunchRequest, owner: Provider = provider): Promise<Observation> =>
      owner.launch(asked, signal());

    const inspect = (launchId: LaunchId, nativeId?: string): Promise<Observation> =>
      provider.inspect(refOf(launchId, nativeId), signal());

    /** Launches and waits until the agent answers. */
    const running = async (): Promise<Observation> => {
      const asked = request();
      let seen = await launch(asked);
      const answers = async () => {
        if (seen.agentAddress === undefined) seen = await inspect(asked.launchId, seen.nativeId);
        return seen.agentAddress !== undefined && (await harness.reach(seen));
      };
      await until(answers, provider.traits.launchMsMax, "the agent answers");
      return seen;
    };

    const listed = async (owner: Provider = provider): Promise<readonly Observation[]> => {
      const found: Observation[] = [];
      let cursor: Cursor | undefined;
      do {
        const page = await owner.list(region, cursor, signal());
        found.push(...page.items);
        cursor = page.next;
        expect(found.length).toBeLessThan(10_000);
      } while (cursor !== undefined);
      return found;
    };

    const lives = async (launchId: LaunchId): Promise<boolean> =>
      (await listed()).some((seen) => seen.launchId === launchId && seen.phase !== "gone");

    describe("traits", () => {
      it("name a region, a way of isolation and bounds that are longer than nothing", () => {
        const { traits } = provider;

        expect(traits.regions.length).toBeGreaterThan(0);
        expect(new Set(traits.regions).size).toBe(traits.regions.length);
        expect(traits.launchMsMax).toBeGreaterThan(0);
        expect(traits.readLagMs).toBeGreaterThanOrEqual(0);
        expect(["vm", "gvisor", "container", "namespace", "none"]).toContain(traits.isolation);
        for (const gap of traits.gaps) expect(gap).toMatch(/^\S.*[^.]$/);
      });

      it("fit never gives less than asked, gives the same each time, and keeps what it gave", () => {
        const { fit } = provider.traits;
        const network = networkOf(harness);
        const asked = { resources: harness.resources ?? harness.template.resources, network };

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
          const resources = { ...harness.template.resources, [dimension]: 1_000_000_000_000 };

          const fit = provider.traits.fit({ resources, network: networkOf(harness) });

          expect(fit).toEqual({ refused: expect.stringMatching(/^\S.*\.$/) });
        },
      );
    });

    describe("launch", () => {
      it("is accepted, and the agent answers at the reported address", async () => {
        const seen = await running();

        const again = await inspect(seen.launchId, seen.nativeId);

        expect(again).toMatchObject({ launchId: seen.launchId, phase: "running" });
        expect(again.agentAddress).toBe(seen.agentAddress);
        expect(again.startedAtMs).toBeTypeOf("number");
        expect(again.endedAtMs).toBeUndefined();
        expect(again.breach).toBeUndefined();
      });

      it("makes one instance for one launch id, asked three times at once", async () => {
        const asked = request();

        const answers = await Promise.all([launch(asked), launch(asked), launch(asked)]);

        const found = (await listed()).filter((seen) => seen.launchId === asked.launchId);
        expect(found).toHaveLength(1);
        for (const answer of answers) expect(answer.launchId).toBe(asked.launchId);
        expect(new Set(answers.map((answer) => answer.nativeId)).size).toBe(1);
      });

      it("makes one instance for one launch id, asked three times in a row", async () => {
        const asked = request();

        const answers = [await launch(asked), await launch(asked), await launch(asked)];

        const found = (await listed()).filter((seen) => seen.launchId === asked.launchId);
        expect(found).toHaveLength(1);
        expect(new Set(answers.map((answer) => answer.nativeId)).size).toBe(1);
      });

      it("keeps two launches of one sandbox apart", async () => {
        const first = request();
        const sandboxId = parseLaunchId(first.launchId)?.sandboxId;
        const launchId = launchIdOf(sandboxId as SandboxId, 2);
        const labels = { ...first.labels, "soulbox.launch": launchId };
        const second = { ...first, launchId, labels };
        launched.set(launchId, provider);

        await Promise.all([launch(first), launch(second)]);
        await provider.terminate(refOf(first.launchId), signal());

        expect((await inspect(first.launchId)).phase).toBe("gone");
        expect((await inspect(second.launchId)).phase).not.toBe("gone");
      });

      it("labels the instance as asked, and with nothing of the agent's environment", async () => {
        const asked = request();
        const canary = randomBytes(16).toString("hex");

        await launch({ ...asked, agentEnv: { ...asked.agentEnv, SOULBOX_CANARY: canary } });

        const labels = await harness.labels(asked.launchId);
        expect(labels).toMatchObject(asked.labels);
        const text = JSON.stringify(labels);
        expect(text).not.toContain(canary);
        expect(text).not.toContain(asked.agentEnv[AGENT_ENV.initKey]);
      });
    });

    describe("inspect", () => {
      it("says gone for an instance that never was", async () => {
        const launchId = launchIdOf(newSandboxId(), 1);

        const answers = [await inspect(launchId), await inspect(launchId, "0123456789ab")];

        for (const answer of answers) {
          expect(answer).toMatchObject({ launchId, phase: "gone", agentAddress: undefined });
        }
      });

      it("finds an instance by its launch id alone", async () => {
        const seen = await running();

        const answers = [
          await inspect(seen.launchId),
          await inspect(seen.launchId),
          await inspect(seen.launchId),
        ];

        for (const answer of answers) expect(answer).toMatchObject({ phase: "running" });
        expect(answers[0]?.agentAddress).toBe(seen.agentAddress);
      });
    });

    describe("terminate", () => {
      it("removes the instance, and succeeds three times", async () => {
        const seen = await running();
        const ref = refOf(seen.launchId, seen.nativeId);

        await provider.terminate(ref, signal());
        await provider.terminate(ref, signal());
        await provider.terminate(ref, signal());

        expect((await inspect(seen.launchId, seen.nativeId)).phase).toBe("gone");
        expect(await lives(seen.launchId)).toBe(false);
        expect(await harness.reach(seen)).toBe(false);
        expect(await harness.leftovers()).toEqual([]);
      });

      it("succeeds three times at once, by launch id alone", async () => {
        const seen = await running();
        const ref = refOf(seen.launchId);

        await Promise.all([1, 2, 3].map(() => provider.terminate(ref, signal())));

        expect((await inspect(seen.launchId)).phase).toBe("gone");
        expect(await harness.leftovers()).toEqual([]);
      });

      it("succeeds for an instance that never was", async () => {
        const ref = refOf(launchIdOf(newSandboxId(), 1));

        await provider.terminate(ref, signal());
        await provider.terminate({ ...ref, nativeId: "0123456789ab" }, signal());
      });

      it.for([0, 1, 4, 16])(
        "coming %d turns into a launch, hides nothing, and leaves nothing once repeated",
        async (turns) => {
          const asked = request();
          const ref = refOf(asked.launchId);

          const launching = launch(asked).catch((error: unknown) => error);
          for (let turn = 0; turn < turns; turn += 1) await nextTurn();
          await provider.terminate(ref, signal());
          await bounded(launching, CALL_MS_MAX, "the launch settles");

          const { phase } = await inspect(asked.launchId);
          expect(await lives(asked.launchId)).toBe(phase !== "gone");
          await provider.terminate(ref, signal());
          expect((await inspect(asked.launchId)).phase).toBe("gone");
          expect(await lives(asked.launchId)).toBe(false);
          expect(await harness.leftovers()).toEqual([]);
        },
      );
    });

    describe("list", () => {
      it("pages to the end and finds exactly what this stage launched", async () => {
        const { provider: other } = harness.neighbour;
        const before = (await listed()).map((seen) => seen.launchId);
        const mine = [request(), request(), request(), request(), request()];
        const foreign = request(other);
        await Promise.all([...mine.map((asked) => launch(asked)), launch(foreign, other)]);

        const found = (await listed()).map((seen) => seen.launchId);
        const foundByOther = (await listed(other)).map((seen) => seen.launchId);

        expect(found.toSorted()).toEqual([...before, ...mine.map((it) => it.launchId)].toSorted());
        expect(foundByOther).toContain(foreign.launchId);
        expect(foundByOther.some((launchId) => found.includes(launchId))).toBe(false);
      });

      it("tells of an instance what inspect tells", async () => {
        const seen = await running();

        const found = (await listed()).find((one) => one.launchId === seen.launchId);

        expect(found).toMatchObject({ phase: "running", nativeId: seen.nativeId });
        expect(found?.startedAtMs).toBeTypeOf("number");
      });
    });

    describe("an aborted signal", () => {
      const aborted = AbortSignal.abort();

      it("stops inspect, list, terminate and launch before they begin", async () => {
        const asked = request();
        const ref = refOf(asked.launchId);

        const thrown = await Promise.all([
          rejection(provider.inspect(ref, aborted), ABORT_MS_MAX),
          rejection(provider.list(region, undefined, aborted), ABORT_MS_MAX),
          rejection(provider.terminate(ref, aborted), ABORT_MS_MAX),
          rejection(provider.launch(asked, aborted), ABORT_MS_MAX),
        ]);

        expect(thrown.map((error) => provider.classify(error))).toEqual(Array(4).fill("timeout"));
        expect(await lives(asked.launchId)).toBe(false);
      });

      it.for([0, 1, 4, 16])("stops the wait of a launch after %d turns", async (turns) => {
        const asked = request();
        const controller = new AbortController();

        const settled = provider.launch(asked, controller.signal).then(
          () => undefined,
          (error: unknown) => error,
        );
        for (let turn = 0; turn < turns; turn += 1) await nextTurn();
        controller.abort(new DOMException("Too late.", "TimeoutError"));
        const thrown = await bounded(settled, ABORT_MS_MAX, "the launch lets go");

        if (thrown !== undefined) expect(provider.classify(thrown)).toBe("timeout");
        await provider.terminate(refOf(asked.launchId), signal());
      });
    });

    describe("suspend", () => {
      it("pauses and resumes, three times each: silent in between, the same process after", async ({
        skip,
      }) => {
        const { suspend } = provider;
        if (suspend === undefined) return skip("the provider has no suspend");
        const seen = await running();
        const ref = refOf(seen.launchId, seen.nativeId);
        const before = await harness.identity(seen);

        for (let time = 0; time < 3; time += 1) await suspend.pause(ref, signal());
        const paused = await inspect(seen.launchId, seen.nativeId);
        const answered = await harness.reach(seen);
        const inList = (await listed()).find((one) => one.launchId === seen.launchId);
        const resumed = [
          await suspend.resume(ref, signal()),
          await suspend.resume(ref, signal()),
          await suspend.resume(refOf(seen.launchId), signal()),
        ];

        expect(paused.phase).toBe("paused");
        expect(answered).toBe(false);
        expect(inList?.phase).toBe("paused");
        for (const answer of resumed) {
          expect(answer).toMatchObject({ launchId: seen.launchId, phase: "running" });
        }
        const last = await inspect(seen.launchId);
        await until(() => harness.reach(last), CALL_MS_MAX, "the agent answers again");
        expect(await harness.identity(last)).toBe(before);
      });

      it("terminates a paused instance", async ({ skip }) => {
        const { suspend } = provider;
        if (suspend === undefined) return skip("the provider has no suspend");
        const seen = await running();
        const ref = refOf(seen.launchId, seen.nativeId);
        await suspend.pause(ref, signal());

        await provider.terminate(ref, signal());

        expect((await inspect(seen.launchId)).phase).toBe("gone");
        expect(await harness.leftovers()).toEqual([]);
      });

      it("throws not_found for an instance that is gone", async ({ skip }) => {
        const { suspend } = provider;
        if (suspend === undefined) return skip("the provider has no suspend");
        const ref = refOf(launchIdOf(newSandboxId(), 1));

        const thrown = [
          await rejection(suspend.pause(ref, signal()), CALL_MS_MAX),
          await rejection(suspend.resume(ref, signal()), CALL_MS_MAX),
        ];

        expect(thrown.map((error) => provider.classify(error))).toEqual(["not_found", "not_found"]);
      });
    });

    describe("classify", () => {
      it.for(PROVIDER_FAULTS)("names a provoked %s so", async (fault, { skip }) => {
        const provoke = harness.provoke[fault];
        if (provoke === undefined) return skip(`the harness can't provoke ${fault}`);

        const thrown = await rejection(provoke(), CALL_MS_MAX);

        expect(provider.classify(thrown)).toBe(fault);
      });

      it("never throws, whatever it is given", () => {
        const hostile = new Proxy(new Error("trap"), {
          get: () => {
            throw new Error("get");
          },
        });

        for (const thrown of [undefined, null, 0, "text", Symbol("s"), {}, [], hostile]) {
          expect(PROVIDER_FAULTS).toContain(provider.classify(thrown));
        }
      });
    });
  });
}

/** A request that any provider can serve. */
function requestFor(
  harness: ProviderHarness,
  provider: Provider,
  names: { readonly launchId: LaunchId; readonly region: string; readonly stage: string },
): LaunchRequest {
  const { launchId, region, stage } = names;
  const network = networkOf(harness);
  const asked = { resources: harness.resources ?? harness.template.resources, network };
  const fit = provider.traits.fit(asked);
  if (!("resources" in fit)) throw new Error(`The template doesn't fit: ${fit.refused}`);
  return {
    launchId,
    region,
    template: harness.template,
    resources: fit.resources,
    network,
    agentEnv: { [AGENT_ENV.launchId]: launchId, [AGENT_ENV.initKey]: INIT_KEY },
    labels: {
      "soulbox.stage": stage,
      "soulbox.sandbox": parseLaunchId(launchId)?.sandboxId ?? "",
      "soulbox.launch": launchId,
    },
    terminateByMs: after(epochMs(Date.now()), 60 * CALL_MS_MAX),
  };
}

/** A public key that nobody holds the other half of: no sandbox is made of these instances. */
const INIT_KEY = generateKeyPairSync("ed25519").publicKey.export({ format: "jwk" }).x ?? "";

function networkOf(harness: ProviderHarness): SandboxSpec["network"] {
  return (
    harness.network ?? {
      internet: undefined,
      publicTraffic: true,
      maskRequestHost: undefined,
      bandwidthKbit: undefined,
    }
  );
}

function newSandboxId(): SandboxId {
  return `c${randomBytes(12).toString("hex")}` as SandboxId;
}

function signal(): AbortSignal {
  return AbortSignal.timeout(CALL_MS_MAX);
}

async function prepared(provider: Provider, harness: ProviderHarness): Promise<void> {
  const { preparing } = provider;
  if (preparing === undefined) return;
  const isReady = async () => {
    const { state, ...rest } = preparing.prepare(harness.template);
    if (state === "failed") throw new Error(`The template failed: ${JSON.stringify(rest)}`);
    return state === "ready";
  };
  await until(isReady, harness.prepareMsMax ?? 10 * CALL_MS_MAX, "the template is ready");
}

/** Asks again and again until the answer is yes. */
async function until(ask: () => Promise<boolean>, msMax: number, claim: string): Promise<void> {
  const deadline = performance.now() + msMax;
  while (!(await ask())) {
    if (performance.now() > deadline) throw new Error(`Not within ${msMax} ms: ${claim}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** The promise's outcome, or a failure when it has none in time. */
async function bounded<T>(promise: Promise<T>, msMax: number, claim: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`Not within ${msMax} ms: ${claim}`)), msMax);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** What the promise rejects with; fails when it resolves. */
async function rejection(promise: Promise<unknown>, msMax: number): Promise<unknown> {
  const outcome = promise.then(
    (value) => ({ value }),
    (error: unknown) => ({ error }),
  );
  const settled = await bounded(outcome, msMax, "the call rejects");
  if ("error" in settled) return settled.error;
  throw new Error(`Resolved where it had to reject: ${JSON.stringify(settled.value)}`);
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
