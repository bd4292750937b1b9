import { apply, isPassing } from "./apply.ts";
import { providerOf } from "./call-provider.ts";
import { settleSandbox } from "./moves.ts";
import type { Ports } from "./ports/ports.ts";
import type { DueKind } from "./ports/store.ts";
import type { Sandbox } from "./sandbox.ts";
import type { SandboxEvent } from "./state.ts";

/** What a bounded batch did. */
export interface Batch {
  /** Rows looked at. */
  readonly handled: number;
  /** True when the batch was full: more is probably due now. */
  readonly more: boolean;
}

/** Ends or pauses what has outlived its expiry, at most `limit` sandboxes. */
export function reap(ports: Ports, limit: number, signal: AbortSignal): Promise<Batch> {
  return forEachDue(ports, "expiry", limit, async (row) => {
    const event = onExpiry(ports, row);
    if (event === undefined) return;
    const next = await apply(ports, row, event);
    if (next !== undefined) await settleSandbox(ports, next, signal);
  });
}

/** Takes up moves that nobody finished, at most `limit` sandboxes. */
export function reconcile(ports: Ports, limit: number, signal: AbortSignal): Promise<Batch> {
  return forEachDue(ports, "move", limit, async (row) => {
    if (row.dueAtMs === undefined || row.dueAtMs > ports.clock.now()) return;
    await settleSandbox(ports, row, signal);
  });
}

/** What a row's expiry asks for. The index that named the row may be stale: the row decides. */
function onExpiry(ports: Ports, row: Sandbox): SandboxEvent | undefined {
  if (row.expiresAtMs > ports.clock.now()) return undefined;
  if (row.state === "paused") return { kind: "end", reason: "expired" };
  if (row.state !== "running") return undefined;
  const canPause = providerOf(ports, row.place)?.suspend !== undefined;
  const pauses = row.spec.onExpiry === "pause" && canPause;
  return pauses ? { kind: "pause" } : { kind: "end", reason: "expired" };
}

/** Re-reads each due row and handles it on its own: one that fails does not stop the others. */
async function forEachDue(
  ports: Ports,
  kind: DueKind,
  limit: number,
  handle: (row: Sandbox) => Promise<void>,
): Promise<Batch> {
  const ids = await ports.store.due(kind, ports.clock.now(), limit);
  for (const id of ids) {
    try {
      const row = await ports.store.get(id);
      if (row !== undefined) await handle(row);
    } catch (error) {
      if (!isPassing(error)) throw error;
      ports.log("batch.deferred", { kind, sandboxId: id, error: String(error) });
    }
  }
  return { handled: ids.length, more: ids.length >= limit };
}
