import { isFinal } from "@soulbox/protocol";
import { decide } from "./apply.ts";
import { providerOf } from "./call-provider.ts";
import { assertLifetime, type CreateInput, createSandbox } from "./create.ts";
import { ControlPlaneError } from "./errors.ts";
import type { SandboxId } from "./ids.ts";
import { launchError } from "./launch.ts";
import { type LedgerEntry, settle, type Usage } from "./ledger.ts";
import { LIMITS } from "./limits.ts";
import { accrued } from "./meter.ts";
import { settleSandbox } from "./moves.ts";
import type { Caller } from "./ports/keys.ts";
import type { Ports } from "./ports/ports.ts";
import type { EntryQuery, ListQuery, Page } from "./ports/store.ts";
import type { Sandbox } from "./sandbox.ts";
import type { SandboxEvent } from "./state.ts";
import { type DurationMs, type EpochMs, type NanoUsd, nanoUsd } from "./units.ts";

/** What one sandbox has cost. */
export interface Cost {
  /** Closed intervals. */
  readonly amount: NanoUsd;
  /** The open interval so far. */
  readonly accrued: NanoUsd;
  readonly entries: readonly LedgerEntry[];
}

/**
 * What a caller can ask for. Every method checks the tenant: another tenant's sandbox is
 * `not_found`, so that ids can't be probed. Methods that move a sandbox return it as committed;
 * {@link ControlPlane.settle} then does what the move asks for.
 */
export interface ControlPlane {
  /**
   * Commits a sandbox as `pending`. The same `once.key` again returns the same sandbox.
   *
   * @throws invalid_request for values out of bounds; not_found for an unknown template;
   *   unsupported when no provider can give or enforce what is asked; not_ready while the template
   *   is being built; quota_exceeded; idempotency_mismatch.
   */
  create(caller: Caller, input: CreateInput): Promise<Sandbox>;
  /** @throws not_found */
  get(caller: Caller, id: SandboxId): Promise<Sandbox>;
  list(caller: Caller, query: Omit<ListQuery, "tenantId">): Promise<Page<Sandbox>>;
  /**
   * Commits `pausing`. On its way there already: unchanged.
   *
   * @throws state_conflict unless it is running; sandbox_ended; unsupported when its provider can't.
   */
  pause(caller: Caller, id: SandboxId): Promise<Sandbox>;
  /**
   * Commits `resuming`, with a new lifetime that counts from now. Running already: unchanged.
   *
   * @param lifetimeMs Default: the lifetime asked for at create.
   * @throws state_conflict while it is on another move; sandbox_ended.
   */
  resume(caller: Caller, id: SandboxId, lifetimeMs?: DurationMs): Promise<Sandbox>;
  /**
   * Moves the end of a running sandbox's life. `lengthen` leaves a later end as it is.
   *
   * @throws invalid_request when the end is past or further away than the longest lifetime;
   *   state_conflict unless it is running; sandbox_ended.
   */
  extend(
    caller: Caller,
    id: SandboxId,
    expiresAtMs: EpochMs,
    mode: "set" | "lengthen",
  ): Promise<Sandbox>;
  /**
   * Commits `terminating`: from here on it is not routable, not counted and not charged.
   *
   * @throws sandbox_ended when it ended before.
   */
  terminate(caller: Caller, id: SandboxId): Promise<Sandbox>;
  /**
   * Does what a committed move asks for, until the sandbox rests or is final.
   *
   * @returns The newest row; still moving when the provider can't do it now, which the reconciler
   *   goes on with.
   * @throws capacity_unavailable, provider_unavailable, timeout or provider_error when every launch
   *   failed; sandbox_ended when somebody ended it before it ran.
   */
  settle(sandbox: Sandbox, signal: AbortSignal): Promise<Sandbox>;
  /** What the tenant's ledger holds from `fromMs` until before `untilMs`, and what is open now. */
  usage(
    caller: Caller,
    fromMs: EpochMs,
    untilMs: EpochMs,
  ): Promise<Usage & { readonly accrued: NanoUsd }>;
  /** @throws not_found */
  cost(caller: Caller, id: SandboxId): Promise<Cost>;
  entries(caller: Caller, query: Omit<EntryQuery, "tenantId">): Promise<Page<LedgerEntry>>;
}

/** The control plane over its ports. Holds no state: as many as one likes may share a store. */
export function createControlPlane(ports: Ports): ControlPlane {
  const owned = async (caller: Caller, id: SandboxId): Promise<Sandbox> => {
    const row = await ports.store.get(id);
    if (row === undefined || row.tenantId !== caller.tenantId) throw noSandbox(id);
    return row;
  };
  const change = async (
    caller: Caller,
    id: SandboxId,
    choose: (row: Sandbox) => SandboxEvent | undefined,
  ): Promise<Sandbox> => {
    await owned(caller, id);
    return decide(ports, id, choose);
  };
  return {
    create: (caller, input) => createSandbox(ports, caller, input),
    get: owned,
    list: (caller, query) => ports.store.list({ ...query, tenantId: caller.tenantId }),
    pause: (caller, id) => change(caller, id, (row) => pauseEvent(ports, row)),
    async resume(caller, id, lifetimeMs) {
      if (lifetimeMs !== undefined) assertLifetime(lifetimeMs);
      return change(caller, id, (row) => {
        if (row.state === "running" || row.state === "resuming") return undefined;
        if (row.state !== "paused") throw conflict("resume", row);
        return { kind: "resume", lifetimeMs: lifetimeMs ?? row.spec.lifetimeMs };
      });
    },
    async extend(caller, id, expiresAtMs, mode) {
      assertLifetime(expiresAtMs - ports.clock.now());
      return change(caller, id, (row) => {
        if (row.state !== "running") throw conflict("extend", row);
        if (mode === "lengthen" && expiresAtMs <= row.expiresAtMs) return undefined;
        return { kind: "extend", expiresAtMs };
      });
    },
    terminate: (caller, id) =>
      change(caller, id, (row) => {
        if (row.endReason !== undefined) throw conflict("terminate", row);
        return { kind: "end", reason: "requested" };
      }),
    async settle(sandbox, signal) {
      const row = await settleSandbox(ports, sandbox, signal);
      if (sandbox.state !== "pending" || row.endReason === undefined) return row;
      throw row.endReason === "launch_failed" ? launchError(row) : conflict("launch", row);
    },
    async usage(caller, fromMs, untilMs) {
      const entries = await all((cursor) =>
        ports.store.entries({
          tenantId: caller.tenantId,
          fromMs,
          untilMs,
          cursor,
          limit: LIMITS.pageMax,
        }),
      );
      const rows = await all((cursor) =>
        ports.store.list({
          tenantId: caller.tenantId,
          states: ["running", "pausing", "paused", "resuming"],
          cursor,
          limit: LIMITS.pageMax,
        }),
      );
      const nowMs = ports.clock.now();
      const open = rows.reduce((sum, row) => sum + accrued(row, nowMs), 0n);
      return { ...settle(entries), openCount: rows.length, accrued: nanoUsd(open) };
    },
    async cost(caller, id) {
      const row = await owned(caller, id);
      const entries = await all((cursor) =>
        ports.store.entries({
          tenantId: caller.tenantId,
          sandboxId: id,
          cursor,
          limit: LIMITS.pageMax,
        }),
      );
      return { amount: settle(entries).amount, accrued: accrued(row, ports.clock.now()), entries };
    },
    entries: (caller, query) => ports.store.entries({ ...query, tenantId: caller.tenantId }),
  };
}

function pauseEvent(ports: Ports, row: Sandbox): SandboxEvent | undefined {
  if (row.state === "pausing") return undefined;
  if (row.state !== "running") throw conflict("pause", row);
  if (providerOf(ports, row.place)?.suspend === undefined) {
    throw new ControlPlaneError(
      "unsupported",
      `Sandbox ${row.id} runs on ${row.place.provider}, which can't pause here.`,
    );
  }
  return { kind: "pause" };
}

function noSandbox(id: SandboxId): ControlPlaneError {
  return new ControlPlaneError("not_found", `There is no sandbox ${id}.`);
}

/** Why a sandbox can't do what is asked: it ended, or it is somewhere else. */
function conflict(what: string, row: Sandbox): ControlPlaneError {
  const details = { state: row.state, endReason: row.endReason };
  if (row.endReason !== undefined) {
    const verb = isFinal(row.state) ? "has ended" : "is ending";
    return new ControlPlaneError(
      "sandbox_ended",
      `Cannot ${what} ${row.id}: it ${verb} (${row.endReason}).`,
      { hint: "Create a new sandbox.", details },
    );
  }
  return new ControlPlaneError("state_conflict", `Cannot ${what} ${row.id}: it is ${row.state}.`, {
    details,
  });
}

/** Every item of a paged list. */
export async function all<Item>(
  read: (cursor: Page<Item>["next"]) => Promise<Page<Item>>,
): Promise<readonly Item[]> {
  const items: Item[] = [];
  let cursor: Page<Item>["next"];
  do {
    const page = await read(cursor);
    items.push(...page.items);
    cursor = page.next;
  } while (cursor !== undefined);
  return items;
}
