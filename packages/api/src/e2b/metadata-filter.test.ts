import { describe, expect, it } from "vitest";
import { parseMetadataFilter } from "./metadata-filter.ts";

/** What E2B's clients send, once the framework has decoded it. */
function encoded(pairs: Readonly<Record<string, string>>): string {
  const once = Object.entries(pairs).map(([name, value]): [string, string] => [
    encodeURIComponent(name),
    encodeURIComponent(value),
  ]);
  return new URLSearchParams(once).toString();
}

describe("parseMetadataFilter", () => {
  it.each([
    {},
    { a: "b" },
    { "a b": "c d", "e+f": "g+h" },
    { "k&=": "v%&=#?/\\" },
    { "%41": "%2541" },
    { ü: "😀", empty: "" },
  ])("reads back %j", (pairs) => {
    expect(parseMetadataFilter(encoded(pairs))).toEqual(pairs);
  });

  it("reads what a person types, encoded once", () => {
    expect(parseMetadataFilter("team=core&n=1")).toEqual({ team: "core", n: "1" });
  });

  it("refuses a percent sign that encodes nothing", () => {
    expect(() => parseMetadataFilter("a=%25zz")).toThrow("[invalid_request]");
  });

  it("keeps __proto__ an ordinary name", () => {
    const filter = parseMetadataFilter("__proto__=x");

    expect(Object.getPrototypeOf(filter)).toBe(Object.prototype);
    expect(Object.entries(filter)).toEqual([["__proto__", "x"]]);
  });
});
