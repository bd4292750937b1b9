import type { Cursor, Page } from "@soulbox/core";

/** Reads of the store that one page may cost: bounds what a rare filter can ask for. */
const READS_MAX = 10;

/**
 * Reads on until a page is full, the list ends, or enough was read: a store may hand out short
 * pages although more follows, which surprises clients.
 *
 * @param read Reads up to `limit` items from `cursor` on.
 */
export async function fillPage<Item>(
  limit: number,
  cursor: Cursor | undefined,
  read: (cursor: Cursor | undefined, limit: number) => Promise<Page<Item>>,
): Promise<Page<Item>> {
  const items: Item[] = [];
  let next = cursor;
  for (let reads = 0; reads < READS_MAX; reads++) {
    const page = await read(next, limit - items.length);
    items.push(...page.items);
    next = page.next;
    if (next === undefined || items.length >= limit) break;
  }
  return { items, next };
}
