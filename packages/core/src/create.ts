import { commitSurely, quotaMoves } from "./apply.ts";
import { providerOf } from "./call-provider.ts";
import { ControlPlaneError, hasCode } from "./errors.ts";
import { LIMITS } from "./limits.ts";
import { noCandidate, placeSandbox, type Wanted } from "./placement.ts";
import type { Caller } from "./ports/keys.ts";
import type { Ports } from "./ports/ports.ts";
import type { Template } from "./ports/templates.ts";
import type { NetworkSpec, Resources, Sandbox, SandboxSpec } from "./sandbox.ts";
import { after, type DurationMs } from "./units.ts";

/** What a caller asks for. Absent members take the default named with them. */
export interface CreateInput {
  /** Name or id of a template. */
  readonly template: string;
  /** Members left out come from the template. */
  readonly resources?: Partial<Resources>;
  readonly env?: Readonly<Record<string, string>>;
  readonly metadata?: Readonly<Record<string, string>>;
  /** Default {@link LIMITS.lifetimeMsDefault}. */
  readonly lifetimeMs?: DurationMs;
  /** Default `terminate`. */
  readonly onExpiry?: "terminate" | "pause";
  /** Default false. */
  readonly autoResume?: boolean;
  /** Default true. */
  readonly secure?: boolean;
  /** Default: the provider's own internet access, public ports, no limit. */
  readonly network?: Partial<NetworkSpec>;
  /** Default: our choice. */
  readonly place?: Wanted;
  /** Idempotency key and request hash. Default: every call creates. */
  readonly once?: { readonly key: string; readonly fingerprint: string };
}

/** Commits a new sandbox as `pending`, or finds the one that the same key created before. */
export async function createSandbox(
  ports: Ports,
  caller: Caller,
  input: CreateInput,
): Promise<Sandbox> {
  const repeated = await recall(ports, caller, input);
  if (repeated !== undefined) return repeated;
  const template = ports.templates.resolve(input.template);
  const spec = specOf(input, template);
  const placement = placeSandbox(ports, spec, template, input.place);
  const first = placement.candidates[0];
  if (first === undefined) throw noCandidate(template, placement.skipped);
  const nowMs = ports.clock.now();
  const launchMsMax = providerOf(ports, first.place)?.traits.launchMsMax ?? LIMITS.callMsMax;
  const sandbox: Sandbox = {
    id: ports.newId(),
    tenantId: caller.tenantId,
    spec,
    state: "pending",
    endReason: undefined,
    incarnation: 1,
    place: first.place,
    resources: first.resources,
    nativeId: undefined,
    agentAddress: undefined,
    attempts: [],
    intervals: 0,
    billing: undefined,
    createdAtMs: nowMs,
    startedAtMs: undefined,
    endedAtMs: undefined,
    expiresAtMs: after(nowMs, spec.lifetimeMs),
    dueAtMs: after(nowMs, LIMITS.moveLeaseMs),
    deadlineMs: after(nowMs, launchMsMax),
    provenAtMs: nowMs,
    tries: 0,
    version: 1,
  };
  return commitNew(ports, caller, input, sandbox);
}

async function commitNew(
  ports: Ports,
  caller: Caller,
  input: CreateInput,
  sandbox: Sandbox,
): Promise<Sandbox> {
  const { after: created, entries } = ports.meter.post(undefined, sandbox, sandbox.createdAtMs);
  const counters = quotaMoves(undefined, created, caller.sandboxCountMax);
  const once = input.once && {
    ...input.once,
    keepUntilMs: after(sandbox.createdAtMs, LIMITS.onceMs),
  };
  try {
    await commitSurely(ports, {
      before: undefined,
      after: created,
      entries,
      counters,
      ...(once !== undefined && { once }),
    });
  } catch (error) {
    if (hasCode(error, "already_exists")) {
      const winner = await recall(ports, caller, input);
      if (winner !== undefined) return winner;
    }
    if (hasCode(error, "quota_exceeded")) throw overQuota(caller, error);
    throw error;
  }
  const { id: sandboxId, tenantId, place } = created;
  ports.log("sandbox.created", {
    sandboxId,
    tenantId,
    template: created.spec.templateId,
    ...place,
  });
  return created;
}

/** The sandbox that this caller's key made before; `undefined` when the key is new. */
async function recall(
  ports: Ports,
  caller: Caller,
  input: CreateInput,
): Promise<Sandbox | undefined> {
  if (input.once === undefined) return undefined;
  const { key, fingerprint } = input.once;
  if (key.length === 0 || key.length > LIMITS.idempotencyKeyCharsMax) {
    throw invalid(
      `The idempotency key has ${key.length} characters.`,
      `Use 1 to ${LIMITS.idempotencyKeyCharsMax}.`,
    );
  }
  const record = await ports.store.recall(caller.tenantId, key, ports.clock.now());
  if (record === undefined) return undefined;
  if (record.fingerprint !== fingerprint) {
    throw new ControlPlaneError(
      "idempotency_mismatch",
      `The idempotency key was used for sandbox ${record.id} with another request.`,
      { hint: "Use a new key for a new request.", details: { sandboxId: record.id } },
    );
  }
  return ports.store.get(record.id);
}

function specOf(input: CreateInput, template: Template): SandboxSpec {
  const resources = { ...template.resources, ...input.resources };
  const env = input.env ?? {};
  const metadata = input.metadata ?? {};
  const lifetimeMs = input.lifetimeMs ?? LIMITS.lifetimeMsDefault;
  const autoResume = input.autoResume ?? false;
  const onExpiry = input.onExpiry ?? "terminate";
  assertWithin("cpuMilli", resources.cpuMilli, LIMITS.cpuMilliMin, LIMITS.cpuMilliMax);
  assertWithin("memoryMib", resources.memoryMib, LIMITS.memoryMibMin, LIMITS.memoryMibMax);
  assertWithin("diskMib", resources.diskMib, LIMITS.diskMibMin, LIMITS.diskMibMax);
  assertLifetime(lifetimeMs);
  assertBytes("env", env, LIMITS.envBytesMax);
  assertBytes("metadata", metadata, LIMITS.metadataBytesMax);
  assertEnvNames(env);
  const bandwidthKbit = input.network?.bandwidthKbit;
  if (bandwidthKbit !== undefined) assertWithin("bandwidthKbit", bandwidthKbit, 8, 100_000_000);
  return {
    templateId: template.id,
    templateName: input.template,
    resources,
    env,
    metadata,
    lifetimeMs,
    onExpiry,
    autoResume,
    secure: input.secure ?? true,
    network: {
      internet: input.network?.internet,
      publicTraffic: input.network?.publicTraffic ?? true,
      maskRequestHost: input.network?.maskRequestHost,
      bandwidthKbit,
    },
  };
}

/** @throws invalid_request when a lifetime is not between 1 ms and the longest allowed. */
export function assertLifetime(lifetimeMs: number): void {
  assertWithin("lifetimeMs", lifetimeMs, 1, LIMITS.lifetimeMsMax);
}

function assertWithin(name: string, value: number, min: number, max: number): void {
  if (Number.isSafeInteger(value) && value >= min && value <= max) return;
  throw invalid(`${name} is ${value}.`, `Give a whole number from ${min} to ${max}.`);
}

function assertBytes(name: string, map: Readonly<Record<string, string>>, max: number): void {
  let bytes = 0;
  for (const [key, value] of Object.entries(map)) bytes += utf8Bytes(key) + utf8Bytes(value);
  if (bytes <= max) return;
  throw invalid(`${name} holds ${bytes} bytes of names and values.`, `Keep it to ${max} bytes.`);
}

function assertEnvNames(env: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(env)) {
    if (name !== "" && !/[=\0]/.test(name) && !value.includes("\0")) continue;
    throw invalid(
      `The environment variable ${JSON.stringify(name.slice(0, 64))} can't be set.`,
      "Names must not be empty or hold = or NUL; values must not hold NUL.",
    );
  }
}

function utf8Bytes(text: string): number {
  let bytes = 0;
  for (const character of text) {
    const point = character.codePointAt(0) ?? 0;
    bytes += point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
  }
  return bytes;
}

function invalid(detail: string, hint: string): ControlPlaneError {
  return new ControlPlaneError("invalid_request", detail, { hint });
}

function overQuota(caller: Caller, cause: ControlPlaneError): ControlPlaneError {
  return new ControlPlaneError(
    "quota_exceeded",
    `The tenant has ${caller.sandboxCountMax} live sandboxes already, as many as it may.`,
    {
      hint: "Terminate one that is no longer needed; paused ones count too.",
      details: { sandboxCountMax: caller.sandboxCountMax },
      cause,
    },
  );
}
