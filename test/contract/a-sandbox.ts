import {
  type Change,
  type DurationMs,
  entryIdOf,
  epochMs,
  isResting,
  type LedgerEntry,
  launchOf,
  type NanoUsd,
  type Once,
  type OpenInterval,
  type Place,
  type Price,
  providerName,
  type Sandbox,
  type SandboxId,
  type TenantId,
} from "@soulbox/core";
import { isFinal } from "@soulbox/protocol";

/** The instant at which the sandboxes of tests are created, unless they say otherwise. */
export const CREATED_AT_MS = epochMs(Date.UTC(2026, 0, 2, 3, 4, 5, 678));

/** Names a tenant. */
export function aTenantId(name = "acme"): TenantId {
  return name as TenantId;
}

/** Names a place. */
export function aPlace(provider = "memory", region = "here"): Place {
  return { provider: providerName(provider), region };
}

/** Numbers above what a float holds, so that nobody rounds them. */
export const A_PRICE: Price = {
  book: "test-1",
  cpuNanoUsdPerHour: 9_007_199_254_740_993n,
  memoryNanoUsdPerHour: 4_000_001n,
  diskNanoUsdPerHour: 0n,
};

let made = 0;

/** A sandbox id that this process hasn't made before; later ones sort behind earlier ones. */
export function aSandboxId(): SandboxId {
  made += 1;
  return `sb${String(made).padStart(18, "0")}` as SandboxId;
}

/**
 * A row that could stand in a store. What `overrides` leaves open fits its state: a due time and a
 * deadline while it moves, an open interval while it pays, a reason once it has ended. Default: a
 * running sandbox of `acme`, version 1.
 */
export function aSandbox(overrides: Partial<Sandbox> = {}): Sandbox {
  const state = overrides.state ?? "running";
  const createdAtMs = overrides.createdAtMs ?? CREATED_AT_MS;
  const expiresAtMs = overrides.expiresAtMs ?? epochMs(createdAtMs + 300_000);
  const isOver = isFinal(state) || state === "terminating";
  const isMoving = !isFinal(state) && !isResting(state);
  const hasInstance = state !== "pending" && !isOver;
  const resources = { cpuMilli: 2000, memoryMib: 512, diskMib: 1024 };
  const billing: OpenInterval = {
    interval: 1,
    state: state === "paused" ? "paused" : "running",
    openedAtMs: epochMs(createdAtMs + 900),
    price: A_PRICE,
  };
  return {
    id: aSandboxId(),
    tenantId: aTenantId(),
    spec: {
      templateId: "base",
      templateName: "base:latest",
      resources,
      env: {},
      metadata: {},
      lifetimeMs: 300_000 as DurationMs,
      onExpiry: "terminate",
      autoResume: false,
      secure: true,
      network: {
        internet: undefined,
        publicTraffic: true,
        maskRequestHost: undefined,
        bandwidthKbit: undefined,
      },
    },
    state,
    endReason: isOver ? "requested" : undefined,
    incarnation: 1,
    place: aPlace(),
    resources,
    nativeId: hasInstance ? "native-1" : undefined,
    agentAddress: hasInstance ? "http://10.0.0.2:49983" : undefined,
    attempts: [],
    intervals: hasInstance ? 1 : 0,
    billing: hasInstance ? billing : undefined,
    createdAtMs,
    startedAtMs: hasInstance ? epochMs(createdAtMs + 900) : undefined,
    endedAtMs: isFinal(state) ? epochMs(createdAtMs + 60_000) : undefined,
    expiresAtMs,
    dueAtMs: isFinal(state) ? undefined : isMoving ? epochMs(createdAtMs + 30_000) : expiresAtMs,
    deadlineMs: isMoving ? epochMs(createdAtMs + 120_000) : undefined,
    provenAtMs: createdAtMs,
    tries: 0,
    version: 1,
    ...overrides,
  };
}

/** A sandbox that carries `metadata`. */
export function aMarked(
  metadata: Record<string, string>,
  overrides: Partial<Sandbox> = {},
): Sandbox {
  const row = aSandbox(overrides);
  return { ...row, spec: { ...row.spec, metadata } };
}

/** The row one commit later. */
export function moved(before: Sandbox, overrides: Partial<Sandbox> = {}): Sandbox {
  return { ...before, version: before.version + 1, ...overrides };
}

/** The entry that opens the first interval of a sandbox. */
export function anOpening(sandbox: Sandbox, overrides: Partial<LedgerEntry> = {}): LedgerEntry {
  return {
    id: entryIdOf(launchOf(sandbox), 1, "open"),
    kind: "open",
    sandboxId: sandbox.id,
    tenantId: sandbox.tenantId,
    atMs: epochMs(sandbox.createdAtMs + 900),
    incarnation: sandbox.incarnation,
    interval: 1,
    state: "running",
    resources: sandbox.resources,
    place: sandbox.place,
    price: A_PRICE,
    ...overrides,
  } as LedgerEntry;
}

/** The entry that closes the first interval of a sandbox, a minute after it was opened. */
export function aClosing(sandbox: Sandbox, overrides: Partial<LedgerEntry> = {}): LedgerEntry {
  return {
    id: entryIdOf(launchOf(sandbox), 1, "close"),
    kind: "close",
    sandboxId: sandbox.id,
    tenantId: sandbox.tenantId,
    atMs: epochMs(sandbox.createdAtMs + 60_900),
    incarnation: sandbox.incarnation,
    interval: 1,
    billedMs: 60_000 as DurationMs,
    amount: 12_345_678_901_234_567_890n as NanoUsd,
    ...overrides,
  } as LedgerEntry;
}

/** A change that creates `after`. */
export function creationOf(after: Sandbox, parts: Partial<Change> = {}): Change {
  return { before: undefined, after, entries: [], counters: [], ...parts };
}

/** A change from one row to another. */
export function moveOf(before: Sandbox, after: Sandbox, parts: Partial<Change> = {}): Change {
  return { before, after, entries: [], counters: [], ...parts };
}

/** A record of an idempotency key that is kept for a day. */
export function anOnce(overrides: Partial<Once> = {}): Once {
  const keepUntilMs = epochMs(CREATED_AT_MS + 86_400_000);
  return { key: "key", fingerprint: "print", keepUntilMs, ...overrides };
}

/** Every optional field set, with texts that are hard on quoting, encodings and paths. */
export function fullSandbox(): Sandbox {
  const base = aSandbox();
  const odd = {
    plain: "",
    "a.b[0]": "dots and brackets",
    'it\'s "quoted"': "back\\slash\nnew line\ttab\r\u2028\u007f",
    "\u{1F469}\u200D\u{1F4BB}": "\u{1F680} né e\u0301 \u202Eright to left",
    ["__proto__"]: "no prototype",
    constructor: "nor this",
    "10": "looks like an index",
    "%_$;--": "DROP TABLE sandbox; --",
  };
  return {
    ...base,
    spec: {
      ...base.spec,
      templateName: "node:22 \u{1F600}",
      env: { ...odd, LONG: "x".repeat(60_000) },
      metadata: odd,
      onExpiry: "pause",
      autoResume: true,
      secure: false,
      network: {
        internet: false,
        publicTraffic: false,
        // biome-ignore lint/suspicious/noTemplateCurlyInString: the text that a caller writes
        maskRequestHost: "localhost:${PORT}",
        bandwidthKbit: 10_000,
      },
    },
    endReason: "quota",
    nativeId: "arn:aws:ecs:eu-west-1:1:task/soul/\u{1F4E6}",
    agentAddress: "unix:/run/soulbox/a b.sock",
    attempts: [
      {
        place: aPlace("fargate", "eu-west-1"),
        incarnation: 1,
        fault: "capacity",
        atMs: CREATED_AT_MS,
      },
      { place: aPlace("aci", "westeurope"), incarnation: 2, fault: "timeout", atMs: CREATED_AT_MS },
    ],
    incarnation: 3,
    intervals: 4,
    endedAtMs: epochMs(CREATED_AT_MS + 3),
    deadlineMs: epochMs(CREATED_AT_MS + 4),
    tries: 5,
  };
}
