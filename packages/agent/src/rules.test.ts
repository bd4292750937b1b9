import { describe, expect, it } from "vitest";
import { describeExit } from "./exit-status.ts";
import { chooseCoding, parseRange } from "./http-ranges.ts";
import { optionalBytes, optionalEnum, optionalUint32, textMap } from "./message.ts";
import { resolvePath } from "./paths.ts";
import { errnoOf, RpcError, toRpcError } from "./rpc-error.ts";
import { parseListen, readSettings } from "./settings.ts";

describe("resolvePath", () => {
  const base = { home: "/home/user", workdir: "/work" };

  it("starts at the home", () => {
    expect(resolvePath("a/../b", base)).toBe("/home/user/b");
    expect(resolvePath("~", base)).toBe("/home/user");
    expect(resolvePath("~/x", base)).toBe("/home/user/x");
    expect(resolvePath("/a//b/", base)).toBe("/a/b");
    expect(resolvePath("../../../..", base)).toBe("/");
    expect(resolvePath("", base)).toBe("/work");
    expect(resolvePath("line\nbreak", base)).toBe("/home/user/line\nbreak");
  });

  it("refuses NUL bytes, other homes and what no file can be called", () => {
    for (const path of ["a\0b", "~root", `/${"x".repeat(4095)}`]) {
      expect(() => resolvePath(path, base)).toThrow(RpcError);
    }
  });
});

describe("parseRange", () => {
  it("reads one range and leaves all else to a whole answer", () => {
    expect(parseRange("bytes=0-0", 10)).toEqual({ first: 0, last: 0 });
    expect(parseRange("bytes=5-99", 10)).toEqual({ first: 5, last: 9 });
    expect(parseRange("bytes=-99", 10)).toEqual({ first: 0, last: 9 });
    expect(parseRange("bytes=10-", 10)).toBe("unsatisfiable");
    expect(parseRange("bytes=-0", 10)).toBe("unsatisfiable");
    for (const header of [undefined, "", "bytes=-", "bytes=5-4", "bytes=0-1,3-4", "x=1-2"]) {
      expect(parseRange(header, 10), header).toBeUndefined();
    }
  });
});

describe("chooseCoding", () => {
  it("compresses only for clients that ask for gzip alone", () => {
    expect(chooseCoding("gzip")).toBe("gzip");
    expect(chooseCoding("gzip;q=0.5, identity;q=0.1")).toBe("gzip");
    expect(chooseCoding(undefined)).toBe("identity");
    expect(chooseCoding("gzip, deflate, br")).toBe("identity");
    expect(chooseCoding("gzip;q=0")).toBe("identity");
    expect(chooseCoding("*")).toBe("identity");
    expect(chooseCoding("gzip, br, identity;q=0")).toBe("gzip");
    expect(chooseCoding("identity;q=0")).toBeUndefined();
    expect(chooseCoding("br, *;q=0")).toBeUndefined();
  });
});

describe("describeExit", () => {
  it("uses the words that E2B's clients compare with", () => {
    expect(describeExit(0, null)).toEqual({ exitCode: 0, exited: true, status: "exit status 0" });
    expect(describeExit(2, null)).toMatchObject({ exitCode: 2, error: "exit status 2" });
    expect(describeExit(null, "SIGKILL")).toEqual({
      exitCode: -1,
      exited: false,
      status: "signal: killed",
      error: "signal: killed",
    });
    expect(describeExit(null, "SIGTERM").status).toBe("signal: terminated");
    expect(describeExit(null, "SIGWINCH").status).toBe("signal: signal 28");
    expect(describeExit(null, 40).status).toBe("signal: signal 40");
  });
});

describe("message fields", () => {
  it("takes base64 of both alphabets, padded or not, and nothing else", () => {
    const bytes = (data: unknown) => optionalBytes({ data }, "data")?.toString("latin1");
    expect(bytes("+/8=")).toBe("\xfb\xff");
    expect(bytes("-_8")).toBe("\xfb\xff");
    expect(bytes("")).toBe("");
    expect(bytes(null)).toBeUndefined();
    for (const data of ["a", "%", "a b=", "ab===", 5, {}])
      expect(() => bytes(data)).toThrow("data");
  });

  it("takes enums by name and number, and numbers as text", () => {
    const values = { A: 1, B: 2 } as const;
    expect(optionalEnum({ x: "B" }, "x", values)).toBe(2);
    expect(optionalEnum({ x: 1 }, "x", values)).toBe(1);
    expect(() => optionalEnum({ x: 3 }, "x", values)).toThrow("A, B");
    expect(optionalUint32({ x: "7" }, "x")).toBe(7);
    for (const x of [-1, 1.5, 2 ** 32, "x", true])
      expect(() => optionalUint32({ x }, "x")).toThrow("x");
  });

  it("does not mistake an object's own nature for a field", () => {
    expect(optionalUint32({}, "constructor")).toBeUndefined();
    const map = textMap(JSON.parse('{"envs":{"__proto__":"x"}}'), "envs");
    expect(Object.entries(map)).toEqual([["__proto__", "x"]]);
  });
});

describe("toRpcError", () => {
  it("maps system errors and keeps what was tried", () => {
    const error = Object.assign(new Error("no space"), { code: "ENOSPC" });
    expect(errnoOf(error)).toBe("ENOSPC");
    const wrapped = toRpcError(error, "can't write 'a'");
    expect([wrapped.code, wrapped.message]).toEqual([
      "resource_exhausted",
      "can't write 'a': no space",
    ]);
    expect(toRpcError(new Error("x"), "y").code).toBe("internal");
  });
});

describe("settings", () => {
  it("reads addresses and sockets", () => {
    expect(parseListen("tcp:0.0.0.0:49983")).toEqual({
      kind: "tcp",
      address: "0.0.0.0",
      port: 49983,
    });
    expect(parseListen("tcp:[::]:1")).toEqual({ kind: "tcp", address: "::", port: 1 });
    expect(parseListen("unix:/run/a.sock")).toEqual({ kind: "unix", path: "/run/a.sock" });
    for (const text of ["", "tcp:x", "tcp:x:70000", "unix:relative", "http://x"]) {
      expect(parseListen(text), text).toBeUndefined();
    }
  });

  it("names everything that is wrong at once", () => {
    const env = { SOULBOX_LISTEN: "nowhere", SOULBOX_INIT_KEY: "AAAA" };
    expect(() => readSettings(env)).toThrow(/SOULBOX_LAUNCH_ID.*SOULBOX_INIT_KEY.*SOULBOX_LISTEN/);
  });
});
