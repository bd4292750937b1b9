import {
  ControlPlaneError,
  type Cursor,
  type Keys,
  quote,
  type Tenant,
  type TenantId,
} from "@soulbox/core";
import { print } from "./codec.ts";
import type { Connection } from "./connection.ts";
import { API_KEY, readDocument, TENANT } from "./documents.ts";
import { checkLimit, FIRST, type ListName, pageOf, readCursor } from "./pages.ts";

/** The keys port over one database. */
export function sqliteKeys(connection: Connection): Keys {
  const { file } = connection;
  const readTenant = (id: string, doc: string) =>
    readDocument(TENANT, doc, { file, what: `tenant ${id}` });
  const readKey = (id: string, doc: string) =>
    readDocument(API_KEY, doc, { file, what: `API key ${id}` });

  function getTenant(id: TenantId): Tenant | undefined {
    const row = connection.prepare("SELECT doc FROM tenant WHERE id = ?").get(id);
    return row && readTenant(id, String(row.doc));
  }

  function list<Item>(
    name: ListName,
    sql: string,
    of: readonly string[],
    { cursor, limit }: { readonly cursor: Cursor | undefined; readonly limit: number },
    read: (id: string, doc: string) => Item,
  ) {
    return connection.read(() => {
      checkLimit(limit);
      const { ms, id } = readCursor(name, cursor) ?? FIRST;
      const rows = connection.prepare(sql).all(...of, ms, id, limit + 1);
      return pageOf(name, rows, limit, (row) => {
        const at = { ms: Number(row.created_at_ms), id: String(row.id) };
        return [at, read(at.id, String(row.doc))];
      });
    });
  }

  return {
    find: async (hash) =>
      connection.read(() => {
        const row = connection.prepare("SELECT id, doc FROM api_key WHERE hash = ?").get(hash);
        const key = row && readKey(String(row.id), String(row.doc));
        const tenant = key && getTenant(key.tenantId);
        return key && tenant && { key, tenant };
      }),

    addKey: async (key) =>
      connection.write(() => {
        if (getTenant(key.tenantId) === undefined) {
          throw new ControlPlaneError("not_found", `There is no tenant ${quote(key.tenantId)}.`);
        }
        const { changes } = connection
          .prepare("INSERT OR IGNORE INTO api_key VALUES (?, ?, ?, ?, ?)")
          .run(key.hash, key.id, key.tenantId, key.createdAtMs, print(API_KEY, key));
        if (Number(changes) === 1) return;
        throw new ControlPlaneError("already_exists", `There is an API key ${key.id} already.`);
      }),

    removeKey: async (tenantId, id) =>
      connection.write(() => {
        const statement = connection.prepare("DELETE FROM api_key WHERE tenant_id = ? AND id = ?");
        return Number(statement.run(tenantId, id).changes) > 0;
      }),

    listKeys: async (tenantId, cursor, limit) =>
      list(
        "keys",
        `SELECT created_at_ms, id, doc FROM api_key
         WHERE tenant_id = ? AND (created_at_ms, id) > (?, ?) ORDER BY created_at_ms, id LIMIT ?`,
        [tenantId],
        { cursor, limit },
        readKey,
      ),

    addTenant: async (tenant) =>
      connection.write(() => {
        const { changes } = connection
          .prepare("INSERT OR IGNORE INTO tenant VALUES (?, ?, ?)")
          .run(tenant.id, tenant.createdAtMs, print(TENANT, tenant));
        if (Number(changes) === 1) return;
        throw new ControlPlaneError("already_exists", `There is a tenant ${tenant.id} already.`);
      }),

    getTenant: async (id) => connection.read(() => getTenant(id)),

    listTenants: async (cursor, limit) =>
      list(
        "tenants",
        `SELECT created_at_ms, id, doc FROM tenant
         WHERE (created_at_ms, id) > (?, ?) ORDER BY created_at_ms, id LIMIT ?`,
        [],
        { cursor, limit },
        readTenant,
      ),
  };
}
