import { ControlPlaneError } from "./errors.ts";
import type { Brand } from "./units.ts";

/**
 * Name of a sandbox, `[a-z][a-z0-9]{19,31}`. It becomes part of host names, which are split on
 * `-`, and of vendors' resource names, so it holds neither.
 */
export type SandboxId = Brand<string, "SandboxId">;
/** Who pays, `[a-z0-9][a-z0-9-]{0,62}`. */
export type TenantId = Brand<string, "TenantId">;
/** One launch of a sandbox, `<sandboxId>-<incarnation>`: the idempotency key at the vendor. */
export type LaunchId = Brand<string, "LaunchId">;
/** One line of the ledger, `<launchId>-<interval>-<kind>`. */
export type EntryId = Brand<string, "EntryId">;
/** A provider's name in configuration, `docker` for example. */
export type ProviderName = Brand<string, "ProviderName">;
/** Where a list goes on; opaque, only the store that made it reads it. */
export type Cursor = Brand<string, "Cursor">;

const SANDBOX_ID = /^[a-z][a-z0-9]{19,31}$/;
const TENANT_ID = /^[a-z0-9][a-z0-9-]{0,62}$/;
const LAUNCH_ID = /^([a-z][a-z0-9]{19,31})-([1-9][0-9]{0,8})$/;

/** True when `text` has the form of a sandbox id. */
export function isSandboxId(text: string): text is SandboxId {
  return SANDBOX_ID.test(text);
}

/**
 * Reads a sandbox id given from outside.
 *
 * @throws not_found when it can't be one: a malformed id names nothing.
 */
export function parseSandboxId(text: string): SandboxId {
  if (isSandboxId(text)) return text;
  throw new ControlPlaneError("not_found", `There is no sandbox ${quote(text)}.`);
}

/**
 * Reads a tenant id given from outside.
 *
 * @throws invalid_request when the form is wrong.
 */
export function parseTenantId(text: string): TenantId {
  if (TENANT_ID.test(text)) return text as TenantId;
  throw new ControlPlaneError("invalid_request", `${quote(text)} is not a tenant id.`, {
    hint: "Use 1 to 63 of a-z, 0-9 and -, not beginning with -.",
  });
}

/** Names one launch of a sandbox. */
export function launchIdOf(id: SandboxId, incarnation: number): LaunchId {
  return `${id}-${incarnation}` as LaunchId;
}

/** Takes a launch id apart; `undefined` when `text` is none. */
export function parseLaunchId(
  text: string,
): { readonly sandboxId: SandboxId; readonly incarnation: number } | undefined {
  const match = LAUNCH_ID.exec(text);
  if (match?.[1] === undefined) return undefined;
  return { sandboxId: match[1] as SandboxId, incarnation: Number(match[2]) };
}

/** Takes a configured name as a provider's. */
export function providerName(text: string): ProviderName {
  return text as ProviderName;
}

/** Shows foreign text in an error: quoted, control characters escaped, at most 64 characters. */
export function quote(text: string): string {
  return JSON.stringify(text.length > 64 ? `${text.slice(0, 61)}...` : text);
}
