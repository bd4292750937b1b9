import { release } from "node:os";
import { describe, expect, it } from "vitest";
import { type EngineInfo, factsOf, mayLimitDisk, nearnessOf, type Probes } from "./facts.ts";

const INFO: EngineInfo = {
  NCPU: 4,
  MemTotal: 8 * 1024 ** 3,
  MemoryLimit: true,
  SwapLimit: true,
  CpuCfsQuota: true,
  PidsLimit: true,
  OperatingSystem: "Debian GNU/Linux 13 (trixie)",
  KernelVersion: release(),
  DockerRootDir: "/",
  Driver: "overlay2",
  DriverStatus: [["Backing Filesystem", "extfs"]],
  SecurityOptions: ["name=seccomp,profile=builtin"],
};

const PROBES: Probes = {
  nearness: { sameKernel: true, sameNetwork: true },
  engine: "docker",
  egress: "filtered",
  forcePublished: false,
  canLimitBandwidth: true,
  canLimitDisk: false,
  runtime: undefined,
};

describe("factsOf", () => {
  it("reads sizes and limits", () => {
    expect(factsOf(INFO, PROBES)).toMatchObject({
      cpuMilli: 4000,
      memoryMib: 8192,
      diskMib: expect.any(Number),
      limits: { memory: true, swap: true, cpu: true, pids: true },
      seccomp: true,
      disk: "measured",
      reach: "direct",
      sockets: true,
      bandwidth: true,
    });
  });

  it.each([
    ["an operator who says so", {}, { forcePublished: true }],
    ["a rootless engine", { SecurityOptions: ["name=rootless"] }, {}],
    ["a bridge elsewhere", {}, { nearness: { sameKernel: true, sameNetwork: false } }],
    ["another machine", {}, { nearness: { sameKernel: false, sameNetwork: false } }],
  ])("reaches agents by published ports with %s", (_, info, probes) => {
    const facts = factsOf({ ...INFO, ...info }, { ...PROBES, ...probes });

    expect(facts.reach).toBe("published");
    expect(facts.bandwidth).toBe(false);
  });

  it("sees no sockets and no disk of another machine", () => {
    const nearness = { sameKernel: false, sameNetwork: false };

    const facts = factsOf(INFO, { ...PROBES, nearness });

    expect(facts).toMatchObject({ sockets: false, diskMib: undefined });
  });

  it("takes what the engine doesn't say for not limited", () => {
    const { NCPU, MemTotal, OperatingSystem, KernelVersion, DockerRootDir, Driver } = INFO;
    const silent = { NCPU, MemTotal, OperatingSystem, KernelVersion, DockerRootDir, Driver };

    const { limits, seccomp } = factsOf(silent, PROBES);

    expect(limits).toEqual({ memory: false, swap: false, cpu: false, pids: false });
    expect(seccomp).toBe(false);
  });
});

describe("nearnessOf", () => {
  it.each([
    ["a TCP engine", INFO, false],
    ["another kernel", { ...INFO, KernelVersion: "1.0" }, true],
    ["Docker Desktop", { ...INFO, OperatingSystem: "Docker Desktop" }, true],
  ])("takes %s for far", (_, info, isUnixSocket) => {
    expect(nearnessOf(info, isUnixSocket, true)).toEqual({
      sameKernel: false,
      sameNetwork: false,
    });
  });

  it("takes a unix socket on this kernel for near", () => {
    expect(nearnessOf(INFO, true, true).sameKernel).toBe(true);
  });
});

describe("mayLimitDisk", () => {
  it.each([
    ["overlay2", "xfs", true],
    ["overlay2", "extfs", false],
    ["overlay", "xfs", true],
    ["btrfs", "", true],
    ["zfs", "", true],
    ["vfs", "extfs", false],
  ])("%s over %s: %s", (Driver, files, answer) => {
    expect(mayLimitDisk({ ...INFO, Driver, DriverStatus: [["Backing Filesystem", files]] })).toBe(
      answer,
    );
  });
});
