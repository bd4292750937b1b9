import { type ListQuery, type Page, type Sandbox, samePlace } from "@soulbox/core";
import { type SandboxState, STATES } from "@soulbox/protocol";
import type { Connection } from "./connection.ts";
import { readDocument, SANDBOX } from "./documents.ts";
import { checkLimit, FIRST, LAST, readCursor, writeCursor } from "./pages.ts";

/**
 * Rows that one page looks at while it searches for what no index knows (template, metadata, place
 * and tenant both): bounds the time of one call to some milliseconds. The page is shorter then.
 */
const SCANNED_ROWS_MAX = 1000;

type Parameters = Readonly<Record<string, string | number>>;

/** Reads one page of sandboxes along the index that fits the query. Call it inside `read`. */
export function listSandboxes(connection: Connection, query: ListQuery): Page<Sandbox> {
  const { limit, order = "desc", createdFromMs = FIRST.ms } = query;
  checkLimit(limit);
  const list = `sandboxes.${order}` as const;
  const after = readCursor(list, query.cursor);
  const filter = filterOf(query);
  const scanned = filter === undefined ? limit : Math.max(limit, SCANNED_ROWS_MAX);
  const { where, parameters } = indexFor(query);
  if (where.length === 0) return { items: [], next: undefined };
  const from = { ...FIRST, ms: createdFromMs };
  const start = order === "asc" ? later(after, from) : (after ?? LAST);

  const rows = connection.prepare(listSql(where, order)).iterate({
    ...parameters,
    startMs: start.ms,
    startId: start.id,
    fromMs: createdFromMs,
    count: scanned + 1,
  });
  const items: Sandbox[] = [];
  let seen = 0;
  let last: { readonly ms: number; readonly id: string } | undefined;
  for (const { id, doc } of rows as Iterable<{ readonly id: string; readonly doc: string }>) {
    if (last && seen === scanned) return { items, next: writeCursor(list, last) };
    const found = { file: connection.file, what: `sandbox ${id}` };
    const sandbox = readDocument(SANDBOX, doc, found);
    if (filter?.(sandbox) ?? true) {
      // Only another match makes another page: what doesn't match is no reason to come again.
      if (last && items.length === limit) return { items, next: writeCursor(list, last) };
      items.push(sandbox);
    }
    last = { ms: sandbox.createdAtMs, id };
    seen += 1;
  }
  return { items, next: undefined };
}

interface IndexUse {
  /** One index and its condition for each stretch of it that is read. */
  readonly where: readonly string[];
  readonly parameters: Parameters;
}

function indexFor({ tenantId, place, states }: ListQuery): IndexUse {
  const wanted = states === undefined ? undefined : [...new Set<SandboxState>(states)];
  const each = (index: string, condition: string, some: readonly SandboxState[]): IndexUse => ({
    where: some.map((_, at) => `INDEXED BY ${index} WHERE ${condition}state = $state${at}`),
    parameters: Object.fromEntries(some.map((state, at) => [`state${at}`, state])),
  });
  const also = (use: IndexUse, parameters: Parameters): IndexUse => ({
    where: use.where,
    parameters: { ...use.parameters, ...parameters },
  });
  if (tenantId !== undefined) {
    const mine = "tenant_id = $tenantId";
    if (wanted) {
      return also(each("sandbox_by_tenant_state", `${mine} AND `, wanted), { tenantId });
    }
    return { where: [`INDEXED BY sandbox_by_tenant WHERE ${mine}`], parameters: { tenantId } };
  }
  if (place !== undefined) {
    const there = "provider = $provider AND region = $region AND ";
    return also(each("sandbox_by_place", there, wanted ?? STATES), {
      provider: place.provider,
      region: place.region,
    });
  }
  if (wanted) return each("sandbox_by_state", "", wanted);
  return { where: ["INDEXED BY sandbox_by_time WHERE true"], parameters: {} };
}

/** Stretches that are sorted each are merged by SQLite without sorting them again. */
function listSql(where: readonly string[], order: "asc" | "desc"): string {
  const beyond = order === "asc" ? ">" : "<";
  const bounds = [`(created_at_ms, id) ${beyond} ($startMs, $startId)`];
  bounds.push("created_at_ms >= $fromMs");
  const stretches = where.map(
    (part) => `SELECT created_at_ms, id, doc FROM sandbox ${part} AND ${bounds.join(" AND ")}`,
  );
  const union = stretches.join(" UNION ALL ");
  return `${union} ORDER BY created_at_ms ${order}, id ${order} LIMIT $count`;
}

/** What the index leaves to check; `undefined` when nothing. */
function filterOf(query: ListQuery): ((sandbox: Sandbox) => boolean) | undefined {
  const { templateId, metadata } = query;
  const place = query.tenantId === undefined ? undefined : query.place;
  const pairs = Object.entries(metadata ?? {});
  if (templateId === undefined && place === undefined && pairs.length === 0) return undefined;
  return ({ spec, place: at }) =>
    (templateId === undefined || spec.templateId === templateId) &&
    (place === undefined || samePlace(at, place)) &&
    pairs.every(
      ([key, value]) => Object.hasOwn(spec.metadata, key) && spec.metadata[key] === value,
    );
}

function later<At extends { readonly ms: number }>(a: At | undefined, b: At): At {
  return a !== undefined && a.ms >= b.ms ? a : b;
}
