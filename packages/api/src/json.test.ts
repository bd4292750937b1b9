import { hasCode } from "@soulbox/core";
import { describe, expect, it } from "vitest";
import { canonicalJson, JSON_DEPTH_MAX, parseJson } from "./json.ts";

function detailOf(text: string): string {
  try {
    parseJson(text);
  } catch (error) {
    if (hasCode(error, "invalid_request")) return error.detail;
    throw error;
  }
  return "accepted";
}

describe("parseJson", () => {
  it.each([
    '{"a":{"a":1},"b":[{"a":1},{"a":1}]}',
    '["a","a"]',
    '{"a":"a","b":"{\\"a\\":1,\\"a\\":2}"}',
    '{"a\\\\":1,"a":2}',
    '{"":1}',
    '"\\ud83d\\ude00"',
    " [ ] ",
    "0",
    "[".repeat(JSON_DEPTH_MAX) + "]".repeat(JSON_DEPTH_MAX),
  ])("accepts %s", (text) => {
    expect(parseJson(text)).toEqual(JSON.parse(text));
  });

  it.each([
    ['{"a":1,"a":2}', /"a" occurs twice/],
    ['{"a":1,"\\u0061":2}', /"a" occurs twice/],
    ['[{"x":{"a":[],"b":1,"a":[]}}]', /"a" occurs twice/],
    ['{"b":"x","a":1 , "b" :2}', /"b" occurs twice/],
    ['{"__proto__":1}', /__proto__/],
    ["[".repeat(JSON_DEPTH_MAX + 1) + "]".repeat(JSON_DEPTH_MAX + 1), /deeper than 64/],
    ['{"a":"\\udc00"}', /surrogate/],
    ['{"\\ud800":1}', /surrogate/],
    ["{a:1}", /not valid JSON/],
    ['{"a":1,}', /not valid JSON/],
    ["[1", /not valid JSON/],
    ["NaN", /not valid JSON/],
    ["", /not valid JSON/],
  ])("refuses %s", (text, detail) => {
    expect(detailOf(text)).toMatch(detail);
  });

  it("never quotes a body that may hold secrets", () => {
    expect(detailOf('{"env":{"TOKEN":"hunter2" x}}')).not.toContain("hunter2");
  });
});

describe("canonicalJson", () => {
  it("is the same text for the same value, however it is spelled", () => {
    const one = canonicalJson({ b: [{ y: 1, x: null }], a: "1" });
    const two = canonicalJson({ a: "1", b: [{ x: null, y: 1 }] });

    expect(one).toBe(two);
    expect(one).toBe('{"a":"1","b":[{"x":null,"y":1}]}');
  });

  it("keeps the order of lists, and types apart", () => {
    expect(canonicalJson([2, 1])).not.toBe(canonicalJson([1, 2]));
    expect(canonicalJson({ a: 1 })).not.toBe(canonicalJson({ a: "1" }));
  });
});
