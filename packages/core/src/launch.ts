import { isFinal } from "@soulbox/protocol";
import { decide } from "./apply.ts";
import { callProvider, type Outcome, providerOf } from "./call-provider.ts";
import { ControlPlaneError } from "./errors.ts";
import type { LaunchId } from "./ids.ts";
import { LIMITS } from "./limits.ts";
import { type Candidate, nextCandidate } from "./placement.ts";
import type { Ports } from "./ports/ports.ts";
import {
  instanceOf,
  type LaunchRequest,
  type Observation,
  type Provider,
  type ProviderFault,
} from "./ports/provider.ts";
import { awaitAgent } from "./ready.ts";
import { isLive, launchOf, type Place, type Sandbox } from "./sandbox.ts";
import type { SandboxEvent } from "./state.ts";
import { after, elapsed } from "./units.ts";

/**
 * Launches a pending sandbox and waits for its agent; a fault moves it to the next place, and to
 * its end when there is none. One launch id makes one instance, so a repetition by another process
 * finds the same one.
 */
export async function launch(
  ports: Ports,
  provider: Provider,
  row: Sandbox,
  signal: AbortSignal,
): Promise<Sandbox> {
  const answer = await launchAndWait(ports, provider, row, signal);
  if (!answer.ok) return relocate(ports, provider, row, answer.fault, signal);
  const next = await decide(ports, row.id, (now) =>
    isThisLaunch(now, row) ? { kind: "ready", ...answer.value } : undefined,
  );
  const isOurs = next.incarnation === row.incarnation && isLive(next.state);
  if (!isOurs) await discard(ports, provider, row, signal);
  return next;
}

async function launchAndWait(
  ports: Ports,
  provider: Provider,
  row: Sandbox,
  signal: AbortSignal,
): ReturnType<typeof awaitAgent> {
  const left = elapsed(ports.clock.now(), row.deadlineMs ?? ports.clock.now());
  if (left === 0) return { ok: false, fault: "timeout" };
  const request = launchRequest(ports, provider, row);
  const call = { what: "launch", limitMs: left, fields: { launchId: request.launchId } };
  const accepted: Outcome<Observation> = await callProvider(
    ports,
    provider,
    call,
    signal,
    (bounded) => provider.launch(request, bounded),
  );
  if (!accepted.ok) return accepted;
  if (accepted.value.phase === "gone") return { ok: false, fault: "not_found" };
  return awaitAgent(ports, provider, row, accepted.value, signal);
}

function launchRequest(ports: Ports, provider: Provider, row: Sandbox): LaunchRequest {
  const launchId = launchOf(row);
  const lifeMs = provider.traits.lifetimeMsMax ?? LIMITS.pausedMsMax + LIMITS.lifetimeMsMax;
  return {
    launchId,
    region: row.place.region,
    template: ports.templates.resolve(row.spec.templateId),
    resources: row.resources,
    network: row.spec.network,
    agentEnv: ports.agents.launchEnv(launchId),
    labels: labelsOf(ports.stage, row, launchId),
    terminateByMs: after(row.createdAtMs, lifeMs),
  };
}

/** Labels of an instance: enough to find its row, and nothing that only its owner may know. */
function labelsOf(stage: string, row: Sandbox, launchId: LaunchId): Record<string, string> {
  return { "soulbox.stage": stage, "soulbox.sandbox": row.id, "soulbox.launch": launchId };
}

/** Commits the move to the next place, or the end, then removes what the failed launch may have left. */
async function relocate(
  ports: Ports,
  provider: Provider,
  row: Sandbox,
  fault: ProviderFault,
  signal: AbortSignal,
): Promise<Sandbox> {
  const next = await decide(ports, row.id, (now) =>
    isThisLaunch(now, row) ? afterFault(ports, now, fault) : undefined,
  );
  const endsItself = next.incarnation === row.incarnation && !isFinal(next.state);
  if (!endsItself) await discard(ports, provider, row, signal);
  return next;
}

function afterFault(ports: Ports, row: Sandbox, fault: ProviderFault): SandboxEvent {
  const candidate =
    row.attempts.length + 1 < LIMITS.attemptsMax ? nextCandidate(ports, row) : undefined;
  if (candidate === undefined) return { kind: "end", reason: "launch_failed", fault };
  return { kind: "relocate", fault, ...candidate, launchMsMax: launchMsMax(ports, candidate) };
}

function launchMsMax(ports: Ports, candidate: Candidate) {
  return providerOf(ports, candidate.place)?.traits.launchMsMax ?? LIMITS.callMsMax;
}

/** Removes an instance that its sandbox no longer wants; the sweep does it when this fails. */
async function discard(
  ports: Ports,
  provider: Provider,
  row: Sandbox,
  signal: AbortSignal,
): Promise<void> {
  const launchId = launchOf(row);
  const call = { what: "terminate", limitMs: LIMITS.callMsMax, fields: { launchId } };
  await callProvider(ports, provider, call, signal, (bounded) =>
    provider.terminate(instanceOf({ ...row, nativeId: undefined }, launchId), bounded),
  );
}

function isThisLaunch(now: Sandbox, row: Sandbox): boolean {
  return now.state === "pending" && now.incarnation === row.incarnation;
}

/** The error for a create whose launches all failed: the last fault decides the code. */
export function launchError(sandbox: Sandbox): ControlPlaneError {
  const last = sandbox.attempts.at(-1);
  const places = sandbox.attempts.map(({ place, fault }) => ({ ...place, fault }));
  const details = { sandboxId: sandbox.id, places };
  const tried = places.map((place) => `${place.provider}/${place.region}: ${place.fault}`);
  const detail = `Sandbox ${sandbox.id} could not be launched (${tried.join("; ")}).`;
  switch (last?.fault) {
    case "capacity":
    case "quota":
    case "throttled":
      return new ControlPlaneError("capacity_unavailable", detail, { retryAfterMs: 5000, details });
    case "unavailable":
      return new ControlPlaneError("provider_unavailable", detail, {
        retryAfterMs: 5000,
        details,
        hint: hintFor(last.place),
      });
    case "timeout":
      return new ControlPlaneError("timeout", detail, { details });
    default:
      return new ControlPlaneError("provider_error", detail, {
        details,
        hint: "The server's log holds the provider's own words under the launch id.",
      });
  }
}

function hintFor(place: Place): string {
  return `Check that ${place.provider} runs and can be reached from the server, then try again.`;
}
