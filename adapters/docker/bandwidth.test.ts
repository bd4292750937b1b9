import { describe, expect, it } from "vitest";
import { linkNameOf, peerIndexOf } from "./bandwidth.ts";

describe("peerIndexOf", () => {
  it("reads the other end's index", () => {
    expect(peerIndexOf("21: eth0@if22: <BROADCAST,UP> mtu 1500 qdisc noqueue")).toBe(22);
  });

  it.each(["", "1: lo: <LOOPBACK,UP>", "garbage"])("throws for %j", (text) => {
    expect(() => peerIndexOf(text)).toThrow("No other end");
  });
});

describe("linkNameOf", () => {
  const links = "12: veth1a@if11: <UP>\n22: veth2b@if21: <UP>\n122: veth3c@if121: <UP>\n";

  it("finds the link of exactly that index", () => {
    expect(linkNameOf(links, 22)).toBe("veth2b");
    expect(linkNameOf(links, 2)).toBeUndefined();
  });
});
