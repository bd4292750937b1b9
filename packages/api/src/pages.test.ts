import type { Cursor } from "@soulbox/core";
import { describe, expect, it } from "vitest";
import { fillPage } from "./pages.ts";

/** A list of numbers whose store hands out at most `step` at a time, every `gap`th page empty. */
function shortPages(count: number, step: number, reads: { count: number }) {
  return async (cursor: Cursor | undefined, limit: number) => {
    reads.count += 1;
    const from = Number(cursor ?? 0);
    const until = Math.min(from + Math.min(step, limit), count);
    const items = Array.from({ length: until - from }, (_, index) => from + index);
    return { items, next: until < count ? (String(until) as Cursor) : undefined };
  };
}

describe("fillPage", () => {
  it("reads on until the page is full", async () => {
    const reads = { count: 0 };

    const page = await fillPage(5, undefined, shortPages(20, 2, reads));

    expect(page).toEqual({ items: [0, 1, 2, 3, 4], next: "5" });
    expect(reads.count).toBe(3);
  });

  it("ends with the list", async () => {
    const page = await fillPage(50, "3" as Cursor, shortPages(6, 2, { count: 0 }));

    expect(page).toEqual({ items: [3, 4, 5], next: undefined });
  });

  it("gives up on a filter that finds nothing, with a cursor to go on from", async () => {
    let reads = 0;

    const page = await fillPage(5, undefined, async () => {
      reads += 1;
      return { items: [], next: `c${reads}` as Cursor };
    });

    expect(page).toEqual({ items: [], next: "c10" });
  });
});
