import { describe, expect, it } from "vitest";
import { BRIDGE_DEFAULT, egressScript, resolversOf } from "./egress.ts";

describe("egressScript", () => {
  const script = egressScript(BRIDGE_DEFAULT, ["10.0.0.2"]);
  const lines = script.split("\n");
  const at = (text: string) => lines.findIndex((line) => line.includes(text));

  it("lets answers and the resolver through before it drops anything", () => {
    const firstDrop = at("-j DROP");

    expect(at("ESTABLISHED")).toBeLessThan(firstDrop);
    expect(at("-d 10.0.0.2/32 -p udp --dport 53 -j RETURN")).toBeLessThan(firstDrop);
    expect(at("-d 10.0.0.2/32 -p tcp --dport 53 -j RETURN")).toBeLessThan(firstDrop);
    expect(at("--dst-type LOCAL -j DROP")).toBe(firstDrop);
  });

  it.each([
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "169.254.0.0/16",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "224.0.0.0/4",
    "168.63.129.16/32",
  ])("drops %s", (range) => {
    expect(script).toMatch(new RegExp(`-d ${range.replaceAll(".", "\\.")} .*-j DROP`));
  });

  it("drops all of IPv6", () => {
    expect(lines.slice(at("ip6tables-restore"))).toContain("-A SOULBOX-soulbox0 -j DROP");
  });

  it("asks before it adds the jump, once per protocol", () => {
    const jumps = lines.filter((line) => line.includes(`-i ${BRIDGE_DEFAULT}`));

    expect(jumps).toHaveLength(2);
    for (const jump of jumps) {
      expect(jump).toMatch(/ -C PREROUTING -i soulbox0 -j SOULBOX-soulbox0 2>/);
      expect(jump).toMatch(/ \|\| .* -I PREROUTING 1 -i soulbox0 -j SOULBOX-soulbox0$/);
    }
  });

  it("names a bridge that the kernel takes", () => {
    expect(BRIDGE_DEFAULT.length).toBeLessThanOrEqual(15);
  });
});

describe("resolversOf", () => {
  it.each([
    ["nameserver 10.1.1.1\nnameserver 8.8.8.8\n", ["10.1.1.1", "8.8.8.8"]],
    ["nameserver 127.0.0.53\noptions edns0\nnameserver 10.0.0.1", ["10.0.0.1"]],
    ["nameserver 10.0.0.1\n\tnameserver 10.0.0.1 \n", ["10.0.0.1"]],
    ["# nameserver 10.0.0.1\nsearch nameserver\n", []],
    ["nameserver 10.0.0.1; reboot\nnameserver $(id)\nnameserver fd00::1", []],
    ["", []],
  ])("reads %j", (text, addresses) => {
    expect(resolversOf(text)).toEqual(addresses);
  });
});
