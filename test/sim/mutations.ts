// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the texts are source code.
/** A deliberate bug: one piece of the core's source, replaced. */
export interface Mutation {
  readonly name: string;
  /** File under `packages/core/src`. */
  readonly file: string;
  /** Must occur exactly once. */
  readonly find: string;
  readonly replace: string;
}

/** Bugs that the simulator must find; each one is a mistake that somebody could make. */
export const MUTATIONS: readonly Mutation[] = [
  {
    name: "entry ids without the interval",
    file: "ledger.ts",
    find: "return `${launchId}-${interval}-${kind}` as EntryId;",
    replace: "return `${launchId}-${kind}` as EntryId;",
  },
  {
    name: "launch ids without the incarnation",
    file: "ids.ts",
    find: "return `${id}-${incarnation}` as LaunchId;",
    replace: "return `${id}-1` as LaunchId;",
  },
  {
    name: "no sweep",
    file: "sweep.ts",
    find: "  const seen = new Set<LaunchId>();",
    replace:
      "  if (ports) return { instances: 0, orphans: [], lost: 0, complete: false };\n  const seen = new Set<LaunchId>();",
  },
  {
    name: "sweep that ignores the incarnation",
    file: "sweep.ts",
    find: "return isFinal(row.state) || row.incarnation !== launch.incarnation;",
    replace: "return isFinal(row.state);",
  },
  {
    name: "act before commit",
    file: "create.ts",
    find: "  return commitNew(ports, caller, input, sandbox);",
    replace: `  await providerOf(ports, first.place)
    ?.launch(
      { launchId: \`\${sandbox.id}-1\`, region: first.place.region, resources: first.resources, labels: { "soulbox.stage": ports.stage } } as never,
      new AbortController().signal,
    )
    .catch(() => {});
  return commitNew(ports, caller, input, sandbox);`,
  },
  {
    name: "quota outside the commit",
    file: "create.ts",
    find: "  const counters = quotaMoves(undefined, created, caller.sandboxCountMax);",
    replace: `  const live = (await ports.store.counters()).get(\`live:\${caller.tenantId}\`) ?? 0;
  if (live >= caller.sandboxCountMax) throw new ControlPlaneError("quota_exceeded", "full");
  const counters = quotaMoves(undefined, created, Number.MAX_SAFE_INTEGER);`,
  },
  {
    name: "quota not given back when an instance is lost",
    file: "apply.ts",
    find: "  if (was === is) return [];",
    replace: '  if (was === is || next.endReason === "lost") return [];',
  },
  {
    name: "stale observation accepted",
    file: "sweep.ts",
    find: "if (startedMs < provider.traits.readLagMs + LIMITS.clockSkewMs) return false;",
    replace: "",
  },
  {
    name: "answer of another incarnation accepted",
    file: "launch.ts",
    find: 'return now.state === "pending" && now.incarnation === row.incarnation;',
    replace: 'return now.state === "pending";',
  },
  {
    name: "idempotency record in a second write",
    file: "create.ts",
    find: "      ...(once !== undefined && { once }),\n    });",
    replace: `    });
    if (once !== undefined) {
      const again = { ...created, version: 2 };
      await commitSurely(ports, { before: created, after: again, entries: [], counters: [], once });
      return again;
    }`,
  },
  {
    name: "reaper that trusts an index",
    file: "reaper.ts",
    find: "  if (row.expiresAtMs > ports.clock.now()) return undefined;",
    replace: "",
  },
  {
    name: "loss billed until it was noticed",
    file: "state.ts",
    find: 'if (event.kind === "gone") return clamp(event.endedAtMs ?? before.provenAtMs);',
    replace: "",
  },
  {
    name: "expiry billed until the reaper came",
    file: "state.ts",
    find: 'if (event.kind === "end" && event.reason === "expired") return clamp(before.expiresAtMs);',
    replace: "",
  },
  {
    name: "time that runs backwards within a sandbox",
    file: "state.ts",
    find: "const atMs = epochMs(Math.max(nowMs, before.provenAtMs));",
    replace: "const atMs = nowMs;",
  },
  {
    name: "move without a lease",
    file: "state.ts",
    find: "return { ...next, dueAtMs: after(atMs, LIMITS.moveLeaseMs), tries: 0 };",
    replace: "return { ...next, dueAtMs: undefined, tries: 0 };",
  },
  {
    name: "drift left alone",
    file: "sweep.ts",
    find: "if (suspend === undefined || (!isFrozen && !isThawed)) return;",
    replace: "if (suspend !== undefined) return;",
  },
  {
    name: "end that stays routable",
    file: "state.ts",
    find: `        endedAtMs: boundary(before, event, atMs),
        agentAddress: undefined,`,
    replace: "        endedAtMs: boundary(before, event, atMs),",
  },
];
