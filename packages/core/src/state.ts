import type { EndReason, SandboxState } from "@soulbox/protocol";
import { isFinal } from "@soulbox/protocol";
import { unreachable } from "./assert.ts";
import { LIMITS } from "./limits.ts";
import type { ProviderFault } from "./ports/provider.ts";
import { isResting, type Place, type Resources, type Sandbox } from "./sandbox.ts";
import { after, type DurationMs, type EpochMs, epochMs } from "./units.ts";

/** What can happen to a sandbox. */
export type SandboxEvent =
  /** Its agent answered as this sandbox. */
  | { readonly kind: "ready"; readonly nativeId: string | undefined; readonly agentAddress: string }
  /** The launch failed; it goes on as the next incarnation elsewhere. */
  | {
      readonly kind: "relocate";
      readonly fault: ProviderFault;
      readonly place: Place;
      readonly resources: Resources;
      readonly launchMsMax: DurationMs;
    }
  | { readonly kind: "pause" }
  | { readonly kind: "paused" }
  /** The provider would not pause it; it runs on. */
  | { readonly kind: "unpaused" }
  | { readonly kind: "resume"; readonly lifetimeMs: DurationMs }
  | { readonly kind: "extend"; readonly expiresAtMs: EpochMs }
  /** Seen alive. */
  | { readonly kind: "proven" }
  /** The move's effect failed for now; it is tried again after `waitMs`. */
  | { readonly kind: "retry"; readonly waitMs: DurationMs }
  | { readonly kind: "end"; readonly reason: EndReason; readonly fault?: ProviderFault }
  /** The provider has no such instance any more. `endedAtMs` is when it says it ended. */
  | { readonly kind: "gone"; readonly endedAtMs: EpochMs | undefined };

type EventKind = SandboxEvent["kind"];

/**
 * Every allowed move. An event that a state doesn't list is no move from there. What `gone` means
 * after an end depends on the reason: see {@link FINAL_STATE}.
 */
export const TRANSITIONS: Readonly<
  Record<SandboxState, Readonly<Partial<Record<EventKind, SandboxState>>>>
> = {
  pending: { ready: "running", relocate: "pending", retry: "pending", end: "terminating" },
  running: {
    pause: "pausing",
    extend: "running",
    proven: "running",
    end: "terminating",
    gone: "failed",
  },
  pausing: {
    paused: "paused",
    unpaused: "running",
    retry: "pausing",
    end: "terminating",
    gone: "failed",
  },
  paused: { resume: "resuming", proven: "paused", end: "terminating", gone: "failed" },
  resuming: { ready: "running", retry: "resuming", end: "terminating", gone: "failed" },
  terminating: { retry: "terminating", gone: "terminated" },
  terminated: {},
  failed: {},
};

/** The final state that each reason leads to. */
export const FINAL_STATE: Readonly<Record<EndReason, "terminated" | "failed">> = {
  requested: "terminated",
  expired: "terminated",
  idle: "terminated",
  quota: "terminated",
  operator: "terminated",
  lost: "failed",
  launch_failed: "failed",
};

/** One move, decided but not committed. */
export interface Step {
  readonly next: Sandbox;
  /** The instant up to which the state before is paid, and from which the state after is. */
  readonly boundaryMs: EpochMs;
}

/**
 * Decides a move. Pure. `undefined` means that there is no such move from here: a caller's request
 * becomes `state_conflict` or `sandbox_ended`, a report from outside is dropped.
 *
 * Time never runs backwards within a sandbox: `nowMs` earlier than its last proof of life counts as
 * that proof, so that paid intervals can't overlap when clocks disagree.
 */
export function transition(before: Sandbox, event: SandboxEvent, nowMs: EpochMs): Step | undefined {
  const target = TRANSITIONS[before.state][event.kind];
  if (target === undefined) return undefined;
  const atMs = epochMs(Math.max(nowMs, before.provenAtMs));
  const moved = { ...before, ...changes(before, event, atMs), version: before.version + 1 };
  const state =
    before.state === "terminating" && event.kind === "gone" && before.endReason !== undefined
      ? FINAL_STATE[before.endReason]
      : target;
  return {
    next: schedule({ ...moved, state }, before, atMs),
    boundaryMs: boundary(before, event, atMs),
  };
}

/** What the event itself changes; when to look again is {@link schedule}'s matter. */
function changes(before: Sandbox, event: SandboxEvent, atMs: EpochMs): Partial<Sandbox> {
  switch (event.kind) {
    case "ready":
      return {
        nativeId: event.nativeId ?? before.nativeId,
        agentAddress: event.agentAddress,
        startedAtMs: before.startedAtMs ?? atMs,
        provenAtMs: atMs,
        ...(before.startedAtMs === undefined && {
          expiresAtMs: after(atMs, before.spec.lifetimeMs),
        }),
      };
    case "relocate":
      return {
        attempts: failedAttempt(before, event.fault, atMs),
        incarnation: before.incarnation + 1,
        place: event.place,
        resources: event.resources,
        nativeId: undefined,
        agentAddress: undefined,
        deadlineMs: after(atMs, event.launchMsMax),
        tries: 0,
      };
    case "pause":
      return { deadlineMs: after(atMs, LIMITS.pauseMsMax) };
    case "paused":
      return { expiresAtMs: after(atMs, LIMITS.pausedMsMax), provenAtMs: atMs };
    case "unpaused":
    case "proven":
      return { provenAtMs: atMs };
    case "resume":
      return {
        deadlineMs: after(atMs, LIMITS.resumeMsMax),
        expiresAtMs: after(atMs, event.lifetimeMs),
      };
    case "extend":
      return { expiresAtMs: event.expiresAtMs };
    case "retry":
      return { tries: before.tries + 1, dueAtMs: after(atMs, event.waitMs) };
    case "end":
      return {
        endReason: event.reason,
        endedAtMs: boundary(before, event, atMs),
        agentAddress: undefined,
        deadlineMs: after(atMs, LIMITS.terminateMsMax),
        ...(event.fault !== undefined && { attempts: failedAttempt(before, event.fault, atMs) }),
      };
    case "gone":
      return {
        endReason: before.endReason ?? "lost",
        endedAtMs: before.endedAtMs ?? boundary(before, event, atMs),
        agentAddress: undefined,
      };
    default:
      return unreachable(event);
  }
}

/** Sets when the row must be looked at next: the expiry at rest, a lease's end on the move. */
function schedule(next: Sandbox, before: Sandbox, atMs: EpochMs): Sandbox {
  if (isFinal(next.state)) return { ...next, dueAtMs: undefined, deadlineMs: undefined, tries: 0 };
  if (isResting(next.state)) {
    return { ...next, dueAtMs: next.expiresAtMs, deadlineMs: undefined, tries: 0 };
  }
  const sameMove = next.state === before.state && next.incarnation === before.incarnation;
  if (sameMove) return next;
  return { ...next, dueAtMs: after(atMs, LIMITS.moveLeaseMs), tries: 0 };
}

function boundary(before: Sandbox, event: SandboxEvent, atMs: EpochMs): EpochMs {
  const openedAtMs = before.billing?.openedAtMs ?? before.createdAtMs;
  const clamp = (ms: EpochMs) => epochMs(Math.min(Math.max(ms, openedAtMs), atMs));
  if (event.kind === "end" && event.reason === "expired") return clamp(before.expiresAtMs);
  if (event.kind === "gone") return clamp(event.endedAtMs ?? before.provenAtMs);
  return atMs;
}

function failedAttempt(before: Sandbox, fault: ProviderFault, atMs: EpochMs): Sandbox["attempts"] {
  const { place, incarnation } = before;
  return [...before.attempts, { place, incarnation, fault, atMs }];
}
