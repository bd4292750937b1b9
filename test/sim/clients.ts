import type { Caller, SandboxId, Scope, TenantId } from "@soulbox/core";
import { durationMs, epochMs, hasCode } from "@soulbox/core";
import { isExpected, type Plane, type World } from "./world.ts";

/** Planted in every sandbox's environment; must show up nowhere. */
export const SECRET = "secret-7f3a";

/** What clients were told, against which the store is checked. */
export interface Journal {
  /** Sandboxes that a create was acknowledged for. */
  readonly created: Set<SandboxId>;
  /** Answers by idempotency key: more than one id under a key is a broken promise. */
  readonly byKey: Map<string, Set<SandboxId>>;
  /** Sandboxes whose termination was acknowledged. */
  readonly terminated: Set<SandboxId>;
  /** Things that must never happen and did. */
  readonly violations: string[];
}

/** Quota of each tenant, small so that it binds. */
export const SANDBOX_COUNT_MAX = 4;
const TENANTS = ["acme", "globex"] as const;
const NEVER = new AbortController().signal;

function callerOf(tenant: string): Caller {
  const scopes = new Set<Scope>(["sandboxes"]);
  return { tenantId: tenant as TenantId, scopes, sandboxCountMax: SANDBOX_COUNT_MAX };
}

export function createJournal(): Journal {
  return { created: new Set(), byKey: new Map(), terminated: new Set(), violations: [] };
}

/** One random request of a random tenant to a random control plane; its answer may never come. */
export function request(world: World, journal: Journal): void {
  const { random, timeline } = world;
  if (world.planes.length === 0) return;
  const plane = random.pick(world.planes);
  const tenant = random.pick(TENANTS);
  const caller = callerOf(tenant);
  const ids = [...world.store.rows.keys()].slice(-8);
  const id = ids.length > 0 ? random.pick(ids) : undefined;
  const roll = random.next();
  if (id === undefined || roll < 0.3) {
    const key = `key-${random.integer(1, 12)}`;
    answer(world, journal, create(world, journal, plane, caller, key));
    return;
  }
  const owner = world.store.rows.get(id)?.tenantId;
  const run = async (): Promise<void> => {
    const { controlPlane } = plane;
    timeline.note(`${plane.name} <- ${tenant} ${roll.toFixed(2)} ${id}`);
    if (roll < 0.48) {
      await controlPlane.settle(await controlPlane.pause(caller, id), NEVER);
    } else if (roll < 0.68) {
      await controlPlane.settle(await controlPlane.resume(caller, id), NEVER);
    } else if (roll < 0.75) {
      const lifeMs = random.integer(5000, 240_000);
      const untilMs = epochMs(plane.ports.clock.now() + lifeMs);
      await controlPlane.extend(caller, id, untilMs, random.chance(0.5) ? "set" : "lengthen");
    } else if (roll < 0.9) {
      const ending = await controlPlane.terminate(caller, id);
      journal.terminated.add(id);
      await controlPlane.settle(ending, NEVER);
    } else if (roll < 0.95) {
      await controlPlane.get(caller, id);
    } else {
      const page = await controlPlane.list(caller, {
        states: undefined,
        cursor: undefined,
        limit: 5,
      });
      if (page.items.some((row) => row.tenantId !== tenant)) {
        journal.violations.push(`I6: ${tenant} was shown another tenant's sandbox`);
      }
      return;
    }
    if (owner !== tenant) journal.violations.push(`I6: ${tenant} reached ${id} of ${owner}`);
  };
  answer(
    world,
    journal,
    run().catch((error: unknown) => {
      if (owner !== tenant && !hasCode(error, "not_found") && !hasCode(error, "timeout")) {
        journal.violations.push(`I6: ${tenant} learned of ${id}: ${String(error)}`);
      }
      throw error;
    }),
  );
}

async function create(
  world: World,
  journal: Journal,
  plane: Plane,
  caller: Caller,
  key: string,
): Promise<void> {
  const { random, timeline } = world;
  const name = `${caller.tenantId}/${key}`;
  timeline.note(`${plane.name} <- create ${name}`);
  const sandbox = await plane.controlPlane.create(caller, {
    template: "base",
    env: { TOKEN: SECRET },
    metadata: { key: name },
    lifetimeMs: durationMs(random.pick([random.integer(4000, 60_000), 240_000])),
    onExpiry: random.chance(0.3) ? "pause" : "terminate",
    once: { key, fingerprint: key },
  });
  const answers = journal.byKey.get(name) ?? new Set();
  journal.byKey.set(name, answers.add(sandbox.id));
  journal.created.add(sandbox.id);
  await plane.controlPlane.settle(sandbox, NEVER);
}

function answer(world: World, journal: Journal, work: Promise<void>): void {
  work.catch((error: unknown) => {
    if (isExpected(error)) world.timeline.note(`refused: ${String(error).slice(0, 100)}`);
    else journal.violations.push(`a request failed as a bug does: ${String(error)}`);
  });
}
