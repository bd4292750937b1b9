import { describe, expect, it } from "vitest";
import { classifyLocal, EnterFailed, hasErrno, LocalError } from "./faults.ts";

const errno = (code: string) => Object.assign(new Error(code), { code });

describe("classifyLocal", () => {
  it.each([
    [errno("ENOSPC"), "capacity"],
    [errno("EAGAIN"), "capacity"],
    [errno("ENOMEM"), "capacity"],
    [errno("EACCES"), "denied"],
    [errno("EDQUOT"), "quota"],
    [errno("EROFS"), "unavailable"],
    [errno("ENOENT"), "unavailable"],
    [errno("EWHATEVER"), "unknown"],
    [new LocalError("not_found", ""), "not_found"],
    [new LocalError("invalid", ""), "invalid"],
    [new DOMException("", "AbortError"), "timeout"],
    [new DOMException("", "TimeoutError"), "timeout"],
    [new EnterFailed("x", "exit 1", "mount: /x: No space left on device."), "capacity"],
    [new EnterFailed("x", "exit 1", "sh: 1: Cannot fork"), "capacity"],
    [new EnterFailed("x", "exit 1", "unshare failed: Operation not permitted"), "denied"],
    [new EnterFailed("x", "exit 127", "enter.sh: 3: unshare: not found"), "unavailable"],
    [new EnterFailed("x", "SIGKILL", ""), "unknown"],
    [new Error("anything"), "unknown"],
    ["text", "unknown"],
    [undefined, "unknown"],
  ])("names %s rightly", (thrown, fault) => {
    expect(classifyLocal(thrown)).toBe(fault);
  });
});

describe("hasErrno", () => {
  it("looks at what Node threw, and at nothing else", () => {
    expect(hasErrno(errno("EEXIST"), "EBUSY", "EEXIST")).toBe(true);
    expect(hasErrno(errno("EEXIST"), "EBUSY")).toBe(false);
    expect(hasErrno({ code: "EEXIST" }, "EEXIST")).toBe(false);
    expect(hasErrno(undefined, "EEXIST")).toBe(false);
  });
});
