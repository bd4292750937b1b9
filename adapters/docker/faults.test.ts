import { describe, expect, it } from "vitest";
import {
  classifyDocker,
  DockerError,
  isImageMissing,
  isNetworkMissing,
  isStorageOptRefused,
} from "./faults.ts";

function answered(statusCode: number, message: string): Error {
  return Object.assign(new Error(`(HTTP code ${statusCode}) unexpected - ${message} `), {
    statusCode,
  });
}

function failed(code: string): Error {
  return Object.assign(new Error(code), { code });
}

describe("classifyDocker", () => {
  it.each([
    [404, "No such container: x", "not_found"],
    [404, "No such image: soulbox/base:1", "unavailable"],
    [404, "network sandboxes-soulbox0 not found", "unavailable"],
    [409, "Conflict. The container name is already in use", "already_exists"],
    [409, "container x is not running", "not_found"],
    [409, "container is marked for removal and cannot be started", "not_found"],
    [400, "Minimum memory limit allowed is 6MB", "invalid"],
    [400, "Range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available", "invalid"],
    [400, "bind source path does not exist: /nowhere", "invalid"],
    [400, "OCI runtime create failed: exec: no such file or directory", "invalid"],
    [403, "operation is not permitted on predefined bridge network", "denied"],
    [500, "write /var/lib/docker/x: no space left on device", "capacity"],
    [500, "fork/exec /proc/self/exe: resource temporarily unavailable", "capacity"],
    [500, "could not find an available, non-overlapping IPv4 address pool", "capacity"],
    [500, "driver failed: Bind for 127.0.0.1:1 failed: port is already allocated", "capacity"],
    [500, "context deadline exceeded", "timeout"],
    [429, "slow down", "throttled"],
    [503, "starting", "unavailable"],
    [500, "something else", "unknown"],
  ])("takes %i %j for %s", (status, message, fault) => {
    expect(classifyDocker(answered(status, message))).toBe(fault);
  });

  it.each([
    ["ECONNREFUSED", "unavailable"],
    ["ENOENT", "unavailable"],
    ["ECONNRESET", "unavailable"],
    ["EACCES", "denied"],
    ["ENOSPC", "capacity"],
    ["ETIMEDOUT", "timeout"],
    ["EWHATEVER", "unknown"],
  ])("takes the errno %s for %s", (code, fault) => {
    expect(classifyDocker(failed(code))).toBe(fault);
  });

  it("takes an ended wait for timeout, and its own errors for what they say", () => {
    expect(classifyDocker(AbortSignal.abort().reason)).toBe("timeout");
    expect(classifyDocker(new DOMException("late", "TimeoutError"))).toBe("timeout");
    expect(classifyDocker(failed("ABORT_ERR"))).toBe("timeout");
    expect(classifyDocker(new DockerError("invalid", "no"))).toBe("invalid");
  });
});

describe("what a launch looks for", () => {
  it("is told by the engine's words", () => {
    expect(isImageMissing(answered(404, "No such image: x"))).toBe(true);
    expect(isImageMissing(answered(404, "No such container: x"))).toBe(false);
    expect(isNetworkMissing(answered(404, "network x not found"))).toBe(true);
    expect(isNetworkMissing(answered(404, "No such container: x"))).toBe(false);
    expect(
      isStorageOptRefused(answered(500, "--storage-opt is supported only for overlay over xfs")),
    ).toBe(true);
  });
});
