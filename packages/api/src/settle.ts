import {
  type Caller,
  ControlPlaneError,
  type DurationMs,
  durationMs,
  isResting,
  type Sandbox,
  type SandboxId,
} from "@soulbox/core";
import { isFinal, type SandboxState } from "@soulbox/protocol";
import type { ApiPorts } from "./ports.ts";

/** Longest wait of one request; below the idle limits of usual proxies. */
export const WAIT_MS_MAX = durationMs(60_000);
/** How often a waiting request looks again, milliseconds: doubles from the first to the last. */
const LOOK_MS_MIN = 50;
const LOOK_MS_MAX = 1000;

/** True when nothing is under way. */
export function isSettled(sandbox: Sandbox): boolean {
  return isResting(sandbox.state) || isFinal(sandbox.state);
}

/**
 * Performs what a committed move asks for, to its end. The work goes on when the client leaves:
 * it belongs to the row, not to the request.
 *
 * @throws The reason, when a launch failed.
 */
export function settle(ports: ApiPorts, sandbox: Sandbox): Promise<Sandbox> {
  if (isSettled(sandbox)) return Promise.resolve(sandbox);
  const work = ports.controlPlane.settle(sandbox, new AbortController().signal);
  ports.background(work.catch((error) => ports.log("settle.failed", { id: sandbox.id, error })));
  return work;
}

/**
 * Like {@link settle}, but answers after `waitMs` at the latest, then with the row as given.
 *
 * @throws The reason, when a launch failed in that time.
 */
export async function settleWithin(
  ports: ApiPorts,
  sandbox: Sandbox,
  waitMs: DurationMs,
): Promise<Sandbox> {
  const work = settle(ports, sandbox);
  const answered = new AbortController();
  const patience = ports.clock.sleep(waitMs, answered.signal).then(() => sandbox);
  patience.catch(() => undefined);
  try {
    return await Promise.race([work, patience]);
  } finally {
    answered.abort();
  }
}

/**
 * Like {@link settle}, and when another process has the move in hand, waits for it.
 *
 * @throws timeout when nothing has come of it within {@link WAIT_MS_MAX}.
 */
export async function settleFully(
  ports: ApiPorts,
  caller: Caller,
  sandbox: Sandbox,
  signal: AbortSignal,
): Promise<Sandbox> {
  const settled = await settle(ports, sandbox);
  if (isSettled(settled)) return settled;
  const wait = { waitMs: WAIT_MS_MAX, state: undefined };
  const seen = await awaitState(ports, caller, sandbox.id, wait, signal);
  if (isSettled(seen)) return seen;
  throw new ControlPlaneError("timeout", `Sandbox ${seen.id} is ${seen.state} still.`, {
    hint: "Its move goes on; look at it again.",
    retryAfterMs: 1000,
  });
}

/** What a long poll waits for. */
export interface Wait {
  readonly waitMs: DurationMs;
  /** `undefined` = any state in which nothing is under way. */
  readonly state: SandboxState | undefined;
}

/**
 * Looks at a sandbox until it is as wanted, has ended, or the time is over; answers with what it
 * saw last.
 *
 * @param signal Ends the wait with its reason, when the client leaves for example.
 * @throws not_found as `get` does.
 */
export async function awaitState(
  ports: ApiPorts,
  caller: Caller,
  id: SandboxId,
  wait: Wait,
  signal: AbortSignal,
): Promise<Sandbox> {
  const { clock, controlPlane } = ports;
  const untilMs = clock.now() + wait.waitMs;
  for (let lookMs = LOOK_MS_MIN; ; lookMs = Math.min(LOOK_MS_MAX, lookMs * 2)) {
    const sandbox = await controlPlane.get(caller, id);
    const leftMs = untilMs - clock.now();
    if (leftMs <= 0 || isFinal(sandbox.state) || isAsWanted(sandbox, wait.state)) return sandbox;
    await clock.sleep(durationMs(Math.min(lookMs, leftMs)), signal);
  }
}

function isAsWanted(sandbox: Sandbox, state: SandboxState | undefined): boolean {
  return state === undefined ? isSettled(sandbox) : sandbox.state === state;
}
