import { STATES } from "@soulbox/protocol";
import { describe, expect, it } from "vitest";
import { aSandbox } from "../../../test/contract/a-sandbox.ts";
import { LIMITS } from "./limits.ts";
import type { Sandbox } from "./sandbox.ts";
import { FINAL_STATE, type SandboxEvent, TRANSITIONS, transition } from "./state.ts";
import { durationMs, epochMs } from "./units.ts";

const NOW = epochMs(1_800_000_000_000);

function inState(state: Sandbox["state"], overrides: Partial<Sandbox> = {}): Sandbox {
  return aSandbox({
    state,
    createdAtMs: epochMs(NOW - 60_000),
    provenAtMs: epochMs(NOW - 10_000),
    expiresAtMs: epochMs(NOW + 60_000),
    version: 3,
    ...overrides,
  });
}

const EVENTS: readonly SandboxEvent[] = [
  { kind: "ready", nativeId: "n", agentAddress: "http://10.0.0.2:49983" },
  {
    kind: "relocate",
    fault: "capacity",
    place: { provider: "other" as Sandbox["place"]["provider"], region: "there" },
    resources: { cpuMilli: 1, memoryMib: 1, diskMib: 1 },
    launchMsMax: durationMs(1000),
  },
  { kind: "pause" },
  { kind: "paused" },
  { kind: "unpaused" },
  { kind: "resume", lifetimeMs: durationMs(5000) },
  { kind: "extend", expiresAtMs: epochMs(NOW + 5000) },
  { kind: "proven" },
  { kind: "retry", waitMs: durationMs(1000) },
  { kind: "end", reason: "requested" },
  { kind: "gone", endedAtMs: undefined },
];

describe("transition", () => {
  for (const state of STATES) {
    for (const event of EVENTS) {
      const target = TRANSITIONS[state][event.kind];
      it(`${target === undefined ? "allows no" : "follows the table for"} ${event.kind} in ${state}`, () => {
        const step = transition(inState(state), event, NOW);

        if (target === undefined) expect(step).toBeUndefined();
        else expect(step?.next).toMatchObject({ state: target, version: 4 });
      });
    }
  }

  it("reaches the final state that the reason names", () => {
    for (const [endReason, final] of Object.entries(FINAL_STATE)) {
      const before = inState("terminating", { endReason: endReason as keyof typeof FINAL_STATE });

      const step = transition(before, { kind: "gone", endedAtMs: undefined }, NOW);

      expect(step?.next).toMatchObject({ state: final, endReason, dueAtMs: undefined });
    }
  });

  it("counts the lifetime from the first answer of the agent", () => {
    const before = inState("pending", { startedAtMs: undefined });

    const step = transition(before, EVENTS[0] as SandboxEvent, NOW);

    expect(step?.next.startedAtMs).toBe(NOW);
    expect(step?.next.expiresAtMs).toBe(NOW + before.spec.lifetimeMs);
    expect(step?.next.dueAtMs).toBe(step?.next.expiresAtMs);
  });

  it("pays an expiry up to the expiry, however late the reaper is", () => {
    const before = inState("running", { expiresAtMs: epochMs(NOW - 5000), billing: undefined });

    const step = transition(before, { kind: "end", reason: "expired" }, NOW);

    expect(step?.boundaryMs).toBe(NOW - 5000);
    expect(step?.next.endedAtMs).toBe(NOW - 5000);
  });

  it("pays a loss up to the last proof of life, or the end that the provider names", () => {
    const before = inState("running");

    expect(transition(before, { kind: "gone", endedAtMs: undefined }, NOW)?.boundaryMs).toBe(
      before.provenAtMs,
    );
    const endedAtMs = epochMs(NOW - 2000);
    expect(transition(before, { kind: "gone", endedAtMs }, NOW)?.boundaryMs).toBe(endedAtMs);
  });

  it("never runs backwards when a clock is behind", () => {
    const before = inState("running", { provenAtMs: epochMs(NOW + 7000) });

    const step = transition(before, { kind: "end", reason: "requested" }, NOW);

    expect(step?.boundaryMs).toBe(NOW + 7000);
  });

  it("takes the address away when a sandbox ends", () => {
    for (const state of ["running", "paused", "resuming"] as const) {
      const before = inState(state, { agentAddress: "http://10.0.0.2:49983" });

      const step = transition(before, { kind: "end", reason: "requested" }, NOW);

      expect(step?.next.agentAddress).toBeUndefined();
    }
  });

  it("gives every move a lease and a deadline", () => {
    const step = transition(inState("running"), { kind: "pause" }, NOW);

    expect(step?.next.dueAtMs).toBe(NOW + LIMITS.moveLeaseMs);
    expect(step?.next.deadlineMs).toBe(NOW + LIMITS.pauseMsMax);
  });

  it("makes the next incarnation of a launch that failed, and remembers the failure", () => {
    const step = transition(inState("pending"), EVENTS[1] as SandboxEvent, NOW);

    expect(step?.next).toMatchObject({
      incarnation: inState("pending").incarnation + 1,
      place: { provider: "other", region: "there" },
      nativeId: undefined,
    });
    expect(step?.next.attempts.at(-1)).toMatchObject({ fault: "capacity", atMs: NOW });
  });
});
