import { isFinal } from "@soulbox/protocol";
import { decide } from "./apply.ts";
import { callProvider, type Outcome, providerOf } from "./call-provider.ts";
import { launch } from "./launch.ts";
import { LIMITS } from "./limits.ts";
import type { Ports } from "./ports/ports.ts";
import { instanceOf, type Observation, type Provider } from "./ports/provider.ts";
import { awaitAgent } from "./ready.ts";
import { isResting, launchOf, type Sandbox } from "./sandbox.ts";
import type { SandboxEvent } from "./state.ts";
import { durationMs } from "./units.ts";

/**
 * Does what a committed move asks for, until the sandbox rests, is final, or must wait for a later
 * try. Whoever commits a move calls it at once; the reconciler calls it for whatever was left. Both
 * may run at the same time: every effect is idempotent by launch id, every outcome is a
 * compare-and-set.
 *
 * @returns The newest row. Still moving = the provider did not do it yet; the reconciler goes on.
 */
export async function settleSandbox(
  ports: Ports,
  sandbox: Sandbox,
  signal: AbortSignal,
): Promise<Sandbox> {
  let row = sandbox;
  while (!isResting(row.state) && !isFinal(row.state)) {
    const next = await move(ports, row, signal);
    const waits = next.version === row.version || next.tries > 0;
    row = next;
    if (waits) break;
  }
  return row;
}

function move(ports: Ports, row: Sandbox, signal: AbortSignal): Promise<Sandbox> {
  const provider = providerOf(ports, row.place);
  if (provider === undefined) return withoutProvider(ports, row);
  switch (row.state) {
    case "pending":
      return launch(ports, provider, row, signal);
    case "pausing":
      return pause(ports, provider, row, signal);
    case "resuming":
      return resume(ports, provider, row, signal);
    case "terminating":
      return terminate(ports, provider, row, signal);
    default:
      return Promise.resolve(row);
  }
}

/** The configuration lost the provider: nothing can be done there, and nothing is forgotten. */
function withoutProvider(ports: Ports, row: Sandbox): Promise<Sandbox> {
  ports.log("sandbox.unreachable", { sandboxId: row.id, provider: row.place.provider });
  return onSameMove(ports, row, (now) => retryLater(now));
}

async function pause(
  ports: Ports,
  provider: Provider,
  row: Sandbox,
  signal: AbortSignal,
): Promise<Sandbox> {
  const instance = instanceOf(row, launchOf(row));
  const outcome = await call(ports, provider, row, "pause", signal, async (bounded) => {
    await provider.suspend?.pause(instance, bounded);
  });
  if (outcome.ok) return onSameMove(ports, row, () => ({ kind: "paused" }));
  if (isPastDeadline(ports, row) || isDefinite(outcome.fault)) {
    return onObserved(ports, provider, row, signal, (phase) =>
      phase === "paused" ? { kind: "paused" } : { kind: "unpaused" },
    );
  }
  return onSameMove(ports, row, (now) => retryLater(now));
}

async function resume(
  ports: Ports,
  provider: Provider,
  row: Sandbox,
  signal: AbortSignal,
): Promise<Sandbox> {
  const instance = instanceOf(row, launchOf(row));
  const outcome = await call(ports, provider, row, "resume", signal, async (bounded) =>
    provider.suspend?.resume(instance, bounded),
  );
  if (outcome.ok && outcome.value !== undefined && outcome.value.phase !== "gone") {
    const answer = await awaitAgent(ports, provider, row, outcome.value, signal);
    if (answer.ok) return onSameMove(ports, row, () => ({ kind: "ready", ...answer.value }));
  }
  if (isPastDeadline(ports, row)) {
    return onObserved(ports, provider, row, signal, () => ({ kind: "end", reason: "lost" }));
  }
  return onObserved(ports, provider, row, signal, () => retryLater(row));
}

async function terminate(
  ports: Ports,
  provider: Provider,
  row: Sandbox,
  signal: AbortSignal,
): Promise<Sandbox> {
  const instance = instanceOf(row, launchOf(row));
  const outcome = await call(ports, provider, row, "terminate", signal, (bounded) =>
    provider.terminate(instance, bounded),
  );
  if (outcome.ok || outcome.fault === "not_found") {
    return onSameMove(ports, row, () => ({ kind: "gone", endedAtMs: undefined }));
  }
  if (isPastDeadline(ports, row)) {
    ports.log("sandbox.stuck", { sandboxId: row.id, state: row.state, tries: row.tries });
  }
  return onSameMove(ports, row, (now) => retryLater(now));
}

/** Commits an event only while the row is still in the very move that the effect was made for. */
function onSameMove(
  ports: Ports,
  row: Sandbox,
  choose: (now: Sandbox) => SandboxEvent,
): Promise<Sandbox> {
  return decide(ports, row.id, (now) =>
    now.state === row.state && now.incarnation === row.incarnation ? choose(now) : undefined,
  );
}

/** Asks the provider what is true, and decides by it; gone is gone, no answer means later. */
async function onObserved(
  ports: Ports,
  provider: Provider,
  row: Sandbox,
  signal: AbortSignal,
  choose: (phase: Observation["phase"]) => SandboxEvent,
): Promise<Sandbox> {
  const instance = instanceOf(row, launchOf(row));
  const outcome = await call(ports, provider, row, "inspect", signal, (bounded) =>
    provider.inspect(instance, bounded),
  );
  if (!outcome.ok) return onSameMove(ports, row, (now) => retryLater(now));
  const { phase, endedAtMs } = outcome.value;
  return onSameMove(ports, row, () =>
    phase === "gone" ? { kind: "gone", endedAtMs } : choose(phase),
  );
}

function call<Value>(
  ports: Ports,
  provider: Provider,
  row: Sandbox,
  what: string,
  signal: AbortSignal,
  run: (signal: AbortSignal) => Promise<Value>,
): Promise<Outcome<Value>> {
  const fields = { launchId: launchOf(row) };
  return callProvider(ports, provider, { what, limitMs: LIMITS.callMsMax, fields }, signal, run);
}

/** The next try of a move that failed: waits double from the shortest to the longest. */
function retryLater(row: Sandbox): SandboxEvent {
  const waitMs = Math.min(LIMITS.retryMsMin * 2 ** Math.min(row.tries, 20), LIMITS.retryMsMax);
  return { kind: "retry", waitMs: durationMs(waitMs) };
}

function isPastDeadline(ports: Ports, row: Sandbox): boolean {
  return row.deadlineMs !== undefined && ports.clock.now() >= row.deadlineMs;
}

/** Faults that a repetition won't change. */
function isDefinite(fault: string): boolean {
  return fault === "not_found" || fault === "invalid" || fault === "denied";
}
