import type { ApiKey, LedgerEntry, Price, Sandbox, Template, Tenant } from "@soulbox/core";
import {
  AGENT_PORT,
  type AgentAccess,
  isFinal,
  type LedgerEntryView,
  type SandboxDetailView,
  type SandboxView,
} from "@soulbox/protocol";
import type { z } from "zod";
import type { ApiPorts, ProviderInfo } from "./ports.ts";

/** An instant as the wire has it, RFC 3339 in UTC. */
export function timeOf(atMs: number): string {
  return new Date(atMs).toISOString();
}

function timeOrNull(atMs: number | undefined): string | null {
  return atMs === undefined ? null : timeOf(atMs);
}

/** A sandbox without anything secret: no variables, no tokens, no addresses. */
export function sandboxView(sandbox: Sandbox): SandboxView {
  const { spec } = sandbox;
  return {
    id: sandbox.id,
    state: sandbox.state,
    endReason: sandbox.endReason ?? null,
    template: spec.templateName,
    templateId: spec.templateId,
    resources: sandbox.resources,
    place: sandbox.place,
    metadata: spec.metadata,
    network: {
      internet: spec.network.internet ?? null,
      publicTraffic: spec.network.publicTraffic,
      maskRequestHost: spec.network.maskRequestHost ?? null,
      bandwidthKbit: spec.network.bandwidthKbit ?? null,
    },
    lifetimeMs: spec.lifetimeMs,
    onExpiry: spec.onExpiry,
    autoResume: spec.autoResume,
    secure: spec.secure,
    incarnation: sandbox.incarnation,
    attempts: sandbox.attempts.map(({ place, incarnation, fault, atMs }) => ({
      place,
      incarnation,
      fault,
      at: timeOf(atMs),
    })),
    createdAt: timeOf(sandbox.createdAtMs),
    startedAt: timeOrNull(sandbox.startedAtMs),
    endedAt: timeOrNull(sandbox.endedAtMs),
    expiresAt: timeOf(sandbox.expiresAtMs),
  };
}

/**
 * A sandbox with the access to its agent.
 *
 * @param origin Where this API was reached; the agent's address too, when sandboxes have no host
 *   names of their own. Requests then name the sandbox in the header `E2b-Sandbox-Id`.
 * @param isUser True when the caller may use the sandbox, not only look at it.
 */
export function sandboxDetailView(
  ports: ApiPorts,
  sandbox: Sandbox,
  { origin, isUser }: { readonly origin: string; readonly isUser: boolean },
): SandboxDetailView {
  const hasEnded = isFinal(sandbox.state) || sandbox.state === "terminating";
  return {
    ...sandboxView(sandbox),
    agent: isUser && !hasEnded ? agentAccess(ports, sandbox, origin) : null,
  };
}

function agentAccess(
  ports: ApiPorts,
  { id, spec }: Sandbox,
  origin: string,
): z.infer<typeof AgentAccess> {
  const domain = ports.sandboxDomain;
  return {
    url: domain === null ? origin : `https://${AGENT_PORT}-${id}.${domain}`,
    accessToken: spec.secure ? ports.accessToken(id) : null,
    trafficToken: spec.network.publicTraffic ? null : ports.trafficToken(id),
  };
}

/** One line of the ledger; money as decimal strings, which no JSON reader rounds. */
export function entryView(entry: LedgerEntry): LedgerEntryView {
  const { id, sandboxId, kind, incarnation, interval, atMs } = entry;
  const amount = entry.kind === "open" ? 0n : entry.amount;
  const base = { id, sandboxId, kind, incarnation, interval, at: timeOf(atMs) };
  const line = { ...base, amountNanoUsd: String(amount) };
  if (entry.kind === "close") return { ...line, billedMs: entry.billedMs };
  if (entry.kind === "adjust") return { ...line, corrects: entry.corrects, why: entry.why };
  const { state, resources, place, price } = entry;
  return { ...line, state, resources, place, price: priceView(price) };
}

function priceView(price: Price) {
  return {
    book: price.book,
    cpuNanoUsdPerHour: String(price.cpuNanoUsdPerHour),
    memoryNanoUsdPerHour: String(price.memoryNanoUsdPerHour),
    diskNanoUsdPerHour: String(price.diskNanoUsdPerHour),
  };
}

/** A provider's plain facts. */
export function providerView({ name, traits, canPause, isHealthy }: ProviderInfo) {
  return {
    name,
    isHealthy: isHealthy ?? null,
    regions: [...traits.regions],
    isolation: traits.isolation,
    canPause,
    lifetimeMsMax: traits.lifetimeMsMax ?? null,
    launchMsMax: traits.launchMsMax,
    gaps: [...traits.gaps],
  };
}

/** A template as callers choose it. */
export function templateView({ id, names, resources }: Template) {
  return { id, names: [...names], resources };
}

/** A key without its hash. */
export function keyView(key: ApiKey) {
  return {
    id: key.id,
    tenantId: key.tenantId,
    name: key.name,
    scopes: [...key.scopes],
    createdAt: timeOf(key.createdAtMs),
    expiresAt: timeOrNull(key.expiresAtMs),
  };
}

/** A tenant. */
export function tenantView({ id, name, sandboxCountMax, createdAtMs }: Tenant) {
  return { id, name, sandboxCountMax, createdAt: timeOf(createdAtMs) };
}
