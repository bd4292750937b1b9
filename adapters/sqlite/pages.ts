import { ControlPlaneError, type Cursor, type Page, quote } from "@soulbox/core";

/** Where a page begins or ends: lists are sorted by an instant, then by id. */
export interface Position {
  readonly ms: number;
  readonly id: string;
}

/** Before everything; ids are never empty. */
export const FIRST: Position = { ms: Number.MIN_SAFE_INTEGER, id: "" };
/** Behind everything. */
export const LAST: Position = { ms: Number.MAX_SAFE_INTEGER, id: "" };

/** Which list a cursor belongs to; a cursor of one is refused by the others. */
export type ListName = "sandboxes.asc" | "sandboxes.desc" | "entries" | "tenants" | "keys";

/** @throws invalid_request when a page can't hold so many. */
export function checkLimit(limit: number): void {
  if (Number.isInteger(limit) && limit >= 1 && limit <= 1000) return;
  throw new ControlPlaneError("invalid_request", `A page holds 1 to 1000 items, not ${limit}.`);
}

/** Names a position to a caller. */
export function writeCursor(list: ListName, { ms, id }: Position): Cursor {
  return `${list}.${ms}.${id}` as Cursor;
}

/**
 * Reads a cursor back; `undefined` when there is none.
 *
 * @throws invalid_request when it isn't one of `list`.
 */
export function readCursor(list: ListName, cursor: Cursor | undefined): Position | undefined {
  if (cursor === undefined) return undefined;
  const match = /^([a-z.]{1,16})\.(-?[0-9]{1,16})\.([a-z0-9-]{1,80})$/.exec(cursor);
  if (match?.[1] === list && match[3]) return { ms: Number(match[2]), id: match[3] };
  throw new ControlPlaneError("invalid_request", `${quote(cursor)} is no cursor of this list.`, {
    hint: "Pass `next` of the page before, with the same order.",
  });
}

/** Makes a page of up to `limit` rows out of one row more, which only tells that there is more. */
export function pageOf<Row, Item>(
  list: ListName,
  rows: readonly Row[],
  limit: number,
  take: (row: Row) => readonly [Position, Item],
): Page<Item> {
  const taken = rows.slice(0, limit).map(take);
  const last = rows.length > limit ? taken.at(-1)?.[0] : undefined;
  return { items: taken.map(([, item]) => item), next: last && writeCursor(list, last) };
}
