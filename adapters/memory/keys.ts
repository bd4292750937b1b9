import {
  type ApiKey,
  ControlPlaneError,
  type Cursor,
  type Keys,
  type Page,
  quote,
  type Tenant,
  type TenantId,
} from "@soulbox/core";

/** Tenants and keys in the process, for tests and the simulator; nothing survives it. */
export function memoryKeys(): Keys {
  const tenants = new Map<TenantId, Tenant>();
  const keys = new Map<string, ApiKey>();

  return {
    find: async (hash) => {
      const key = keys.get(hash);
      const tenant = key && tenants.get(key.tenantId);
      return key && tenant && { key, tenant };
    },
    addKey: async (key) => {
      if (!tenants.has(key.tenantId)) {
        throw new ControlPlaneError("not_found", `There is no tenant ${quote(key.tenantId)}.`);
      }
      for (const other of keys.values()) {
        if (other.hash !== key.hash && !isNamed(other, key.tenantId, key.id)) continue;
        throw new ControlPlaneError("already_exists", `There is an API key ${key.id} already.`);
      }
      keys.set(key.hash, Object.freeze({ ...key, scopes: Object.freeze([...key.scopes]) }));
    },
    removeKey: async (tenantId, id) => {
      for (const key of keys.values()) {
        if (isNamed(key, tenantId, id)) return keys.delete(key.hash);
      }
      return false;
    },
    listKeys: async (tenantId, cursor, limit) =>
      page(
        [...keys.values()].filter((key) => key.tenantId === tenantId),
        "keys",
        cursor,
        limit,
      ),
    addTenant: async (tenant) => {
      if (tenants.has(tenant.id)) {
        throw new ControlPlaneError("already_exists", `There is a tenant ${tenant.id} already.`);
      }
      tenants.set(tenant.id, Object.freeze({ ...tenant }));
    },
    getTenant: async (id) => tenants.get(id),
    listTenants: async (cursor, limit) => page([...tenants.values()], "tenants", cursor, limit),
  };
}

function isNamed(key: ApiKey, tenantId: TenantId, id: string): boolean {
  return key.tenantId === tenantId && key.id === id;
}

/** Sorts by creation, then id, and takes what lies behind the cursor. */
function page<Item extends { readonly id: string; readonly createdAtMs: number }>(
  items: readonly Item[],
  kind: string,
  cursor: Cursor | undefined,
  limit: number,
): Page<Item> {
  if (!Number.isInteger(limit) || limit < 1 || limit > 1000) {
    throw new ControlPlaneError("invalid_request", `A page holds 1 to 1000 items, not ${limit}.`);
  }
  const from = cursor === undefined ? { ms: -1, id: "" } : readCursor(kind, cursor);
  const rest = items
    .filter(({ createdAtMs: ms, id }) => ms > from.ms || (ms === from.ms && id > from.id))
    .sort((a, b) => a.createdAtMs - b.createdAtMs || (a.id < b.id ? -1 : 1));
  const last = rest.length > limit ? rest[limit - 1] : undefined;
  const next = last && (`${kind}_${last.createdAtMs}_${last.id}` as Cursor);
  return { items: rest.slice(0, limit), next };
}

function readCursor(kind: string, cursor: Cursor): { readonly ms: number; readonly id: string } {
  const match = /^([a-z]{1,16})_([0-9]{1,16})_([a-z0-9-]{1,63})$/.exec(cursor);
  if (match?.[1] === kind && match[3]) return { ms: Number(match[2]), id: match[3] };
  throw new ControlPlaneError("invalid_request", `${quote(cursor)} is no cursor of this list.`, {
    hint: "Pass `next` of the page before.",
  });
}
