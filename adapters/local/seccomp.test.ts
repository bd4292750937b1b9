import { describe, expect, it } from "vitest";
import { seccompFilter } from "./seccomp.ts";

const X64 = 0xc000003e;
const I386 = 0x40000003;
const ARM64 = 0xc00000b7;
const NEWUSER = 0x10000000;

/** What the filter answers: `allow`, or the errno. */
function answer(arch: string, call: { audit: number; nr: number; args?: number[] }) {
  const filter = seccompFilter(arch);
  if (filter === undefined) throw new Error(`There is no filter for ${arch}.`);
  const data = Buffer.alloc(64);
  data.writeUInt32LE(call.nr, 0);
  data.writeUInt32LE(call.audit, 4);
  (call.args ?? []).forEach((arg, index) => {
    data.writeBigUInt64LE(BigInt(arg), 16 + 8 * index);
  });
  let word = 0;
  for (let at = 0; at < filter.length; at += 8) {
    const value = filter.readUInt32LE(at + 4);
    const jump = (holds: boolean) => 8 * filter.readUInt8(at + (holds ? 2 : 3));
    const code = filter.readUInt16LE(at);
    if (code === 0x20) word = data.readUInt32LE(value);
    else if (code === 0x15) at += jump(word === value);
    else if (code === 0x35) at += jump(word >= value);
    else if (code === 0x45) at += jump((word & value) !== 0);
    else if (code === 0x06) return value === 0x7fff0000 ? "allow" : value - 0x50000;
    else throw new Error(`Unknown instruction ${code}.`);
  }
  throw new Error("The program has no end.");
}

describe("seccompFilter", () => {
  it.each([
    ["read", 0, "allow"],
    ["execve", 59, "allow"],
    ["ptrace, for debuggers", 101, "allow"],
    ["mount", 165, 1],
    ["umount2", 166, 1],
    ["unshare", 272, 1],
    ["setns", 308, 1],
    ["keyctl", 250, 1],
    ["bpf", 321, 1],
    ["perf_event_open", 298, 1],
    ["init_module", 175, 1],
    ["kexec_load", 246, 1],
    ["the new mount calls", 429, 1],
    ["clone3, so that clone is asked", 435, 38],
    ["io_uring_setup", 425, 38],
    ["the first call of x32", 0x40000000, 38],
  ])("answers %s on x64", (_, nr, expected) => {
    expect(answer("x64", { audit: X64, nr })).toBe(expected);
  });

  it.each([
    ["write", 64, "allow"],
    ["mount", 40, 1],
    ["unshare", 97, 1],
    ["setns", 268, 1],
    ["bpf", 280, 1],
    ["clone3", 435, 38],
  ])("answers %s on arm64", (_, nr, expected) => {
    expect(answer("arm64", { audit: ARM64, nr })).toBe(expected);
  });

  it.each([
    ["x64", X64, 56],
    ["arm64", ARM64, 220],
  ])("lets threads and processes be made on %s, but no namespaces", (arch, audit, nr) => {
    expect(answer(arch, { audit, nr, args: [0x3d0f00] })).toBe("allow");
    expect(answer(arch, { audit, nr, args: [17] })).toBe("allow");
    expect(answer(arch, { audit, nr, args: [NEWUSER | 17] })).toBe(1);
  });

  it.each([
    ["x64", X64, 41],
    ["arm64", ARM64, 198],
  ])(
    "lets sockets be made on %s, but none that reach past the network namespace",
    (arch, audit, nr) => {
      const socket = (...args: number[]) => answer(arch, { audit, nr, args });

      expect(socket(2, 1, 0)).toBe("allow");
      expect(socket(1, 1, 0)).toBe("allow");
      expect(socket(16, 3, 0)).toBe("allow");
      expect(socket(16, 3, 9)).toBe(93);
      expect(socket(38, 5, 0)).toBe(97);
      expect(socket(40, 1, 0)).toBe(97);
    },
  );

  it("refuses every call of another architecture", () => {
    expect(answer("x64", { audit: I386, nr: 21 })).toBe(38);
    expect(answer("x64", { audit: I386, nr: 4 })).toBe(38);
  });

  it("has none for machines that it isn't written for", () => {
    expect(seccompFilter("riscv64")).toBeUndefined();
  });
});
