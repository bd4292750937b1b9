import { CODES } from "@soulbox/protocol";
import { ControlPlaneError, hasCode } from "./errors.ts";
import type { SandboxId, TenantId } from "./ids.ts";
import { LIMITS } from "./limits.ts";
import type { Ports } from "./ports/ports.ts";
import type { Change, CounterMove } from "./ports/store.ts";
import { isLive, type Sandbox } from "./sandbox.ts";
import { type SandboxEvent, transition } from "./state.ts";

/** Counter of a tenant's live sandboxes. */
export function liveCounter(tenantId: TenantId): string {
  return `live:${tenantId}`;
}

/** What a change of state moves in the tenant's quota. `countMax` binds only when it grows. */
export function quotaMoves(
  before: Sandbox | undefined,
  next: Sandbox,
  countMax: number,
): readonly CounterMove[] {
  const was = before !== undefined && isLive(before.state);
  const is = isLive(next.state);
  if (was === is) return [];
  return [{ counter: liveCounter(next.tenantId), add: is ? 1 : -1, max: countMax }];
}

/**
 * Commits one event on the row as read: state, ledger and quota in one write.
 *
 * @returns The committed row; `undefined` when there is no such move from its state.
 * @throws version_conflict when somebody else changed the row first.
 */
export async function apply(
  ports: Ports,
  before: Sandbox,
  event: SandboxEvent,
): Promise<Sandbox | undefined> {
  const step = transition(before, event, ports.clock.now());
  if (step === undefined) return undefined;
  const { after, entries } = ports.meter.post(before, step.next, step.boundaryMs);
  const counters = quotaMoves(before, after, Number.MAX_SAFE_INTEGER);
  await commitSurely(ports, { before, after, entries, counters });
  if (event.kind !== "proven") logMove(ports, before, after, event);
  return after;
}

/**
 * Commits a change whose answer may get lost: reading the row again then tells whether it is ours.
 *
 * @throws version_conflict when it isn't, whatever the store's `timeout` left open.
 */
export async function commitSurely(ports: Ports, change: Change): Promise<void> {
  const { before, after } = change;
  try {
    await ports.store.commit(change);
  } catch (error) {
    if (!hasCode(error, "timeout")) throw error;
    const found = await ports.store.get(after.id);
    const isOurs =
      found?.version === after.version &&
      found.state === after.state &&
      found.endReason === after.endReason &&
      found.provenAtMs === after.provenAtMs &&
      found.dueAtMs === after.dueAtMs;
    if (isOurs) return;
    if (before === undefined && found === undefined) throw error;
    throw new ControlPlaneError(
      "version_conflict",
      `The commit of ${after.id} at version ${after.version} did not happen.`,
      { cause: error },
    );
  }
}

/**
 * Reads the row, lets `choose` decide on it, and commits; a lost race is decided again on the new
 * row, up to {@link LIMITS.conflictTries} times.
 *
 * @param choose The event for the row as it stands; `undefined` leaves it alone.
 * @returns The row as committed, or as read when nothing was to be done.
 * @throws not_found when there is no such row; version_conflict when every try lost.
 */
export async function decide(
  ports: Ports,
  id: SandboxId,
  choose: (row: Sandbox) => SandboxEvent | undefined,
): Promise<Sandbox> {
  for (let tries = 1; ; tries += 1) {
    const row = await ports.store.get(id);
    if (row === undefined) throw new ControlPlaneError("not_found", `There is no sandbox ${id}.`);
    const event = choose(row);
    if (event === undefined) return row;
    try {
      return (await apply(ports, row, event)) ?? row;
    } catch (error) {
      if (!hasCode(error, "version_conflict") || tries >= LIMITS.conflictTries) throw error;
    }
  }
}

/** True for errors after which the same work may be taken up again later. */
export function isPassing(error: unknown): boolean {
  return error instanceof ControlPlaneError && CODES[error.code].retryable;
}

function logMove(ports: Ports, before: Sandbox, after: Sandbox, event: SandboxEvent): void {
  ports.log(`sandbox.${event.kind}`, {
    sandboxId: after.id,
    tenantId: after.tenantId,
    incarnation: after.incarnation,
    from: before.state,
    state: after.state,
    endReason: after.endReason,
    provider: after.place.provider,
    region: after.place.region,
  });
}
