import { callProvider } from "./call-provider.ts";
import { LIMITS } from "./limits.ts";
import type { Ports } from "./ports/ports.ts";
import {
  instanceOf,
  type Observation,
  type Provider,
  type ProviderFault,
} from "./ports/provider.ts";
import { launchOf, type Sandbox } from "./sandbox.ts";
import { durationMs } from "./units.ts";

/** Where an agent answered as the sandbox, or why it never did. */
export type AgentAnswer =
  | {
      readonly ok: true;
      readonly value: { readonly nativeId: string | undefined; readonly agentAddress: string };
    }
  | { readonly ok: false; readonly fault: ProviderFault };

const POLL_MS_MIN = 2;
const POLL_MS_MAX = 250;
/** Measured: an agent in a container answers 10 to 100 ms after the engine's start call returns. */
const EAGER_MS = 150;
const INSPECT_EVERY_MS = 1000;

/**
 * Waits until the instance's agent has become the sandbox: asks every {@link POLL_MS_MIN} ms at
 * first, then ever more rarely, and looks at the provider now and then whether the instance still
 * exists. Ends at the row's deadline with `timeout`.
 */
export async function awaitAgent(
  ports: Ports,
  provider: Provider,
  row: Sandbox,
  accepted: Observation,
  signal: AbortSignal,
): Promise<AgentAnswer> {
  const beganAtMs = ports.clock.now();
  const lagEndsAtMs = beganAtMs + provider.traits.readLagMs;
  let { nativeId, agentAddress } = accepted;
  let inspectAtMs = beganAtMs + (agentAddress === undefined ? 0 : INSPECT_EVERY_MS);
  let waitMs = POLL_MS_MIN;
  for (;;) {
    if (agentAddress !== undefined) {
      const answer = await ports.agents.init(row, agentAddress, signal);
      if (answer === "ready") return { ok: true, value: { nativeId, agentAddress } };
    }
    const nowMs = ports.clock.now();
    if (row.deadlineMs !== undefined && nowMs >= row.deadlineMs)
      return { ok: false, fault: "timeout" };
    if (nowMs >= inspectAtMs) {
      inspectAtMs = nowMs + INSPECT_EVERY_MS;
      const seen = await look(ports, provider, { ...row, nativeId }, signal);
      if (seen?.phase === "gone" && nowMs >= lagEndsAtMs) return { ok: false, fault: "not_found" };
      nativeId = seen?.nativeId ?? nativeId;
      agentAddress = seen?.agentAddress ?? agentAddress;
    }
    if (nowMs - beganAtMs > EAGER_MS) waitMs = Math.min(waitMs * 2, POLL_MS_MAX);
    await ports.clock.sleep(durationMs(waitMs), signal);
  }
}

async function look(
  ports: Ports,
  provider: Provider,
  row: Sandbox,
  signal: AbortSignal,
): Promise<Observation | undefined> {
  const fields = { launchId: launchOf(row) };
  const call = { what: "inspect", limitMs: LIMITS.callMsMax, fields };
  const outcome = await callProvider(ports, provider, call, signal, (bounded) =>
    provider.inspect(instanceOf(row, launchOf(row)), bounded),
  );
  return outcome.ok ? outcome.value : undefined;
}
