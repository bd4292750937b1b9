import { describe, expect, it } from "vitest";
import { hostVersions, nodeFor, prepareLocal } from "./templates.ts";

const host: Readonly<Record<string, string>> = { python: "3.13", node: "20.19" };
const find = (program: string) => host[program];
const lent = { path: "/x/node", version: "24.11" };

describe("prepareLocal", () => {
  it.each(["base", "python-3.13", "node-20", "node-24"])("is ready for %s", (id) => {
    expect(prepareLocal({ id }, find, lent)).toEqual({ state: "ready" });
  });

  it.each([
    ["python-3.12", /python 3\.13, not python 3\.12\.$/],
    ["node-22", /node 20\.19 and 24\.11, not node 22\.$/],
    ["node-2", /not node 2\.$/],
    ["go-1.24", /no go, not go 1\.24\.$/],
    ["rust-1.85", /no rust/],
    ["made-by-a-user", /can't build made-by-a-user\.$/],
    ["constructor-1", /can't build/],
  ])("says of %s what the host has instead", (id, detail) => {
    expect(prepareLocal({ id }, find, lent)).toEqual({
      state: "failed",
      detail: expect.stringMatching(detail),
    });
  });
});

describe("nodeFor", () => {
  it.each([
    ["base", undefined],
    ["node-20", undefined],
    ["node-24", lent],
    ["python-3.13", undefined],
  ])("gives %s the host's Node unless it asks for the lent one's version", (id, expected) => {
    expect(nodeFor(id, find, lent)).toEqual(expected);
  });

  it("lends the server's where the host has none", () => {
    expect(nodeFor("base", () => undefined, lent)).toEqual(lent);
    expect(nodeFor("base", () => undefined, undefined)).toBeUndefined();
  });
});

describe("hostVersions", () => {
  it("asks the programs of this machine, and knows none of other names", () => {
    const versions = hostVersions();

    for (const name of ["python", "node", "rust", "go"]) {
      expect(versions(name) ?? "1.0").toMatch(/^\d+\.\d+$/);
    }
    expect(versions("cobol")).toBeUndefined();
  });
});
