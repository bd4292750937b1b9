import type { Cursor, TenantId } from "../ids.ts";
import type { EpochMs } from "../units.ts";
import type { Page } from "./store.ts";

/**
 * What a caller may do. `sandboxes` create and use them · `sandboxes:read` look only · `billing`
 * usage and ledger · `keys` manage the tenant's keys · `operator` everything, every tenant.
 */
export const SCOPES = ["sandboxes", "sandboxes:read", "billing", "keys", "operator"] as const;
export type Scope = (typeof SCOPES)[number];

/** Who pays, and how much they may have. */
export interface Tenant {
  readonly id: TenantId;
  /** For people. */
  readonly name: string;
  /** Live sandboxes at once, paused ones included. */
  readonly sandboxCountMax: number;
  readonly createdAtMs: EpochMs;
}

/** An API key as it is kept: its secret only as a hash. */
export interface ApiKey {
  /** First 12 characters of the hash, `[0-9a-f]{12}`. */
  readonly id: string;
  /** SHA-256 of the whole key, lower-case hex. */
  readonly hash: string;
  readonly tenantId: TenantId;
  readonly name: string;
  readonly scopes: readonly Scope[];
  readonly createdAtMs: EpochMs;
  /** `undefined` = until it is removed. */
  readonly expiresAtMs: EpochMs | undefined;
}

/** Who asks. */
export interface Caller {
  readonly tenantId: TenantId;
  readonly scopes: ReadonlySet<Scope>;
  readonly sandboxCountMax: number;
}

/** Tenants and their keys. */
export interface Keys {
  /** The key with this hash and its tenant, expired or not; `undefined` when unknown. */
  find(hash: string): Promise<{ readonly key: ApiKey; readonly tenant: Tenant } | undefined>;
  /** @throws already_exists when the hash is taken; not_found when the tenant is unknown. */
  addKey(key: ApiKey): Promise<void>;
  /** False when the tenant has no such key. */
  removeKey(tenantId: TenantId, id: string): Promise<boolean>;
  listKeys(tenantId: TenantId, cursor: Cursor | undefined, limit: number): Promise<Page<ApiKey>>;
  /** @throws already_exists when the id is taken. */
  addTenant(tenant: Tenant): Promise<void>;
  getTenant(id: TenantId): Promise<Tenant | undefined>;
  listTenants(cursor: Cursor | undefined, limit: number): Promise<Page<Tenant>>;
}
