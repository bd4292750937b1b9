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
  type Provider,
  type ProviderFault,
  parseLaunchId,
  type Resources,
  type SandboxId,
  type SandboxSpec,
  type Template,
} from "@soulbox/core";
import { AGENT_ENV } from "@soulbox/protocol";
import { expect } from "vitest";

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
/** One call may take this long before the suite gives up, milliseconds. */
export const CALL_MS_MAX = 60_000;

/** The suite's hands: what its tests do to the provider again and again. */
export class ProviderWorld {
  readonly harness: ProviderHarness;
  readonly provider: Provider;
  readonly region: string;
  readonly #launched = new Map<LaunchId, Provider>();

  constructor(harness: ProviderHarness) {
    this.harness = harness;
    this.provider = harness.provider;
    this.region = harness.provider.traits.regions[0] ?? "";
  }

  refOf(launchId: LaunchId, nativeId?: string): InstanceRef {
    return { region: this.region, launchId, nativeId };
  }

  /** A request of the provider's stage, with an id that nothing else has; ended after the test. */
  request(owner: Provider = this.provider): LaunchRequest {
    const { harness, region } = this;
    const launchId = launchIdOf(newSandboxId(), 1);
    this.endAfterwards(launchId, owner);
    const stage = owner === this.provider ? harness.stage : harness.neighbour.stage;
    return requestFor(harness, owner, { launchId, region, stage });
  }

  launch(asked: LaunchRequest, owner: Provider = this.provider): Promise<Observation> {
    return owner.launch(asked, signal());
  }

  inspect(launchId: LaunchId, nativeId?: string): Promise<Observation> {
    return this.provider.inspect(this.refOf(launchId, nativeId), signal());
  }

  /** Launches and waits until the agent answers. */
  async running(): Promise<Observation> {
    const asked = this.request();
    let seen = await this.launch(asked);
    const answers = async () => {
      if (seen.agentAddress === undefined) seen = await this.inspect(asked.launchId, seen.nativeId);
      return seen.agentAddress !== undefined && (await this.harness.reach(seen));
    };
    await until(answers, this.provider.traits.launchMsMax, "the agent answers");
    return seen;
  }

  /** All pages of the list. */
  async listed(owner: Provider = this.provider): Promise<readonly Observation[]> {
    const found: Observation[] = [];
    let cursor: Cursor | undefined;
    do {
      const page = await owner.list(this.region, cursor, signal());
      found.push(...page.items);
      cursor = page.next;
      expect(found.length).toBeLessThan(10_000);
    } while (cursor !== undefined);
    return found;
  }

  /** True when the list shows the instance in any phase but gone. */
  async lives(launchId: LaunchId): Promise<boolean> {
    const all = await this.listed();
    return all.some((seen) => seen.launchId === launchId && seen.phase !== "gone");
  }

  endAfterwards(launchId: LaunchId, owner: Provider = this.provider): void {
    this.#launched.set(launchId, owner);
  }

  /** Waits until both stages can launch the template. */
  async prepare(): Promise<void> {
    await prepared(this.provider, this.harness);
    await prepared(this.harness.neighbour.provider, this.harness);
  }

  /** Ends what the test launched. */
  async tidy(): Promise<void> {
    for (const [launchId, owner] of this.#launched) {
      await owner.terminate(this.refOf(launchId), signal());
    }
    this.#launched.clear();
  }
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

export function networkOf(harness: ProviderHarness): SandboxSpec["network"] {
  return (
    harness.network ?? {
      internet: undefined,
      publicTraffic: true,
      maskRequestHost: undefined,
      bandwidthKbit: undefined,
    }
  );
}

export function newSandboxId(): SandboxId {
  return `c${randomBytes(12).toString("hex")}` as SandboxId;
}

export function signal(): AbortSignal {
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
export async function until(
  ask: () => Promise<boolean>,
  msMax: number,
  claim: string,
): Promise<void> {
  const deadline = performance.now() + msMax;
  while (!(await ask())) {
    if (performance.now() > deadline) throw new Error(`Not within ${msMax} ms: ${claim}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** The promise's outcome, or a failure when it has none in time. */
export async function bounded<T>(promise: Promise<T>, msMax: number, claim: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`Not within ${msMax} ms: ${claim}`)), msMax);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** What the promise rejects with; fails when it resolves. */
export async function rejection(promise: Promise<unknown>, msMax: number): Promise<unknown> {
  const outcome = promise.then(
    (value) => ({ value }),
    (error: unknown) => ({ error }),
  );
  const settled = await bounded(outcome, msMax, "the call rejects");
  if ("error" in settled) return settled.error;
  throw new Error(`Resolved where it had to reject: ${JSON.stringify(settled.value)}`);
}

export function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
