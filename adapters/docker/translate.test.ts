import { epochMs, type LaunchId, type LaunchRequest } from "@soulbox/core";
import { describe, expect, it } from "vitest";
import type { EngineFacts } from "./facts.ts";
import {
  type ContainerFacts,
  type ContainerPlan,
  containerName,
  createOptions,
  goneObservation,
  instantOf,
  observationOf,
} from "./translate.ts";

const LAUNCH = "s0123456789abcdefghij-3" as LaunchId;

const FACTS: EngineFacts = {
  cpuMilli: 8000,
  memoryMib: 16_384,
  diskMib: 100_000,
  limits: { memory: true, swap: true, cpu: true, pids: true },
  seccomp: true,
  disk: "measured",
  reach: "direct",
  sockets: true,
  engine: "docker",
  egress: "filtered",
  bandwidth: true,
  runtime: undefined,
};

const REQUEST: LaunchRequest = {
  launchId: LAUNCH,
  region: "local",
  template: { id: "base", names: ["base"], folder: "base", args: {}, resources: size() },
  resources: size(),
  network: {
    internet: undefined,
    publicTraffic: true,
    maskRequestHost: undefined,
    bandwidthKbit: undefined,
  },
  agentEnv: { SOULBOX_LAUNCH_ID: LAUNCH, SOULBOX_INIT_KEY: "key" },
  labels: { "soulbox.stage": "one", "soulbox.launch": LAUNCH },
  terminateByMs: epochMs(0),
};

const PLAN: ContainerPlan = {
  name: "soulbox-one-abc",
  image: "soulbox/base:1",
  network: "sandboxes-soulbox0",
  stage: "one",
  agentPath: "/srv/agent",
  socketDir: undefined,
  sudo: true,
  facts: FACTS,
};

function size() {
  return { cpuMilli: 1500, memoryMib: 512, diskMib: 1024 };
}

function host(plan: Partial<ContainerPlan>) {
  return createOptions(REQUEST, { ...PLAN, ...plan }).HostConfig ?? {};
}

describe("containerName", () => {
  it("is the same for one launch, another for another, and doesn't tell the id", () => {
    const name = containerName("one", LAUNCH);

    expect(name).toMatch(/^soulbox-one-[0-9a-f]{24}$/);
    expect(containerName("one", LAUNCH)).toBe(name);
    expect(containerName("one", `${LAUNCH}0` as LaunchId)).not.toBe(name);
  });
});

describe("createOptions", () => {
  it("runs the mounted agent as root under the engine's init, listening on the bridge", () => {
    const options = createOptions(REQUEST, PLAN);

    expect(options).toMatchObject({
      name: "soulbox-one-abc",
      Image: "soulbox/base:1",
      User: "0:0",
      Entrypoint: ["/.soulbox/agent"],
      Cmd: [],
      NetworkDisabled: false,
      HostConfig: {
        Init: true,
        NetworkMode: "sandboxes-soulbox0",
        Mounts: [{ Type: "bind", Source: "/srv/agent", Target: "/.soulbox/agent", ReadOnly: true }],
      },
    });
    expect(options.Env).toContain("SOULBOX_LISTEN=tcp:0.0.0.0:49983");
    expect(options.Env).toContain(`SOULBOX_LAUNCH_ID=${LAUNCH}`);
  });

  it("has no network but a socket in its folder when there is one", () => {
    const options = createOptions(REQUEST, { ...PLAN, socketDir: "/run/x" });

    expect(options.NetworkDisabled).toBe(true);
    expect(options.HostConfig?.NetworkMode).toBeUndefined();
    expect(options.Env).toContain("SOULBOX_LISTEN=unix:/.soulbox/run/agent.sock");
    expect(options.HostConfig?.Mounts?.at(1)).toEqual({
      Type: "bind",
      Source: "/run/x",
      Target: "/.soulbox/run",
    });
  });

  it("has none on Podman either, which ignores the switch and takes the mode", () => {
    const facts = { ...FACTS, engine: "podman" } as const;

    const options = createOptions(REQUEST, { ...PLAN, socketDir: "/run/x", facts });

    expect(options.HostConfig?.NetworkMode).toBe("none");
  });

  it("publishes the agent's port on loopback only, and only where the bridge won't do", () => {
    const published = createOptions(REQUEST, { ...PLAN, facts: { ...FACTS, reach: "published" } });

    expect(published.HostConfig?.PortBindings).toEqual({ "49983/tcp": [{ HostIp: "127.0.0.1" }] });
    expect(createOptions(REQUEST, PLAN).HostConfig?.PortBindings).toBeUndefined();
  });

  it("limits memory without swap, processors, processes, files and core files", () => {
    expect(host({})).toMatchObject({
      Memory: 512 * 1024 * 1024,
      MemorySwap: 512 * 1024 * 1024,
      NanoCpus: 1_500_000_000,
      PidsLimit: 1024,
      Ulimits: [
        { Name: "nofile", Soft: 16_384, Hard: 16_384 },
        { Name: "core", Soft: 0, Hard: 0 },
      ],
    });
  });

  it.each([
    { sudo: true, security: [], audit: true },
    { sudo: false, security: ["no-new-privileges"], audit: false },
  ])("sudo $sudo: rights are $security", ({ sudo, security, audit }) => {
    const { CapDrop, CapAdd, SecurityOpt } = host({ sudo });

    expect(CapDrop).toEqual(["ALL"]);
    expect(SecurityOpt).toEqual(security);
    expect(CapAdd?.includes("AUDIT_WRITE")).toBe(audit);
    for (const name of ["NET_RAW", "NET_ADMIN", "SYS_ADMIN", "MKNOD"]) {
      expect(CapAdd).not.toContain(name);
    }
  });

  it("bounds the disk where the engine can, else labels the limit", () => {
    const hard = createOptions(REQUEST, { ...PLAN, facts: { ...FACTS, disk: "hard" } });
    const measured = createOptions(REQUEST, PLAN);

    expect(hard.HostConfig?.StorageOpt).toEqual({ size: "1024m" });
    expect(hard.Labels).not.toHaveProperty("soulbox.disk-mib");
    expect(measured.HostConfig?.StorageOpt).toBeUndefined();
    expect(measured.Labels).toHaveProperty(["soulbox.disk-mib"], "1024");
  });

  it("leaves the limit on processes out where the runtime fails with it", () => {
    const facts = { ...FACTS, limits: { ...FACTS.limits, pids: false }, runtime: "runsc" };

    expect(host({ facts })).toMatchObject({ Runtime: "runsc" });
    expect(host({ facts })).not.toHaveProperty("PidsLimit");
  });
});

describe("observationOf", () => {
  const container: ContainerFacts = {
    id: "abc",
    state: "running",
    createdAtMs: epochMs(1000),
    startedAtMs: epochMs(1200),
    endedAtMs: epochMs(9000),
    mounts: [],
    address: "172.20.0.2",
    publishedPort: undefined,
    breach: undefined,
    detail: "Up",
  };

  it.each([
    ["created", "starting"],
    ["running", "running"],
    ["restarting", "starting"],
    ["paused", "paused"],
    ["removing", "terminating"],
    ["exited", "gone"],
    ["dead", "gone"],
    ["configured", "starting"],
    ["stopping", "terminating"],
    ["stopped", "gone"],
  ])("reads the state %s as %s", (state, phase) => {
    expect(observationOf(LAUNCH, { ...container, state }).phase).toBe(phase);
  });

  it.each([
    ["the bridge", {}, "http://172.20.0.2:49983"],
    ["a published port", { publishedPort: 32_768 }, "http://127.0.0.1:32768"],
    [
      "a socket",
      { address: undefined, mounts: [{ Source: "/run/x", Destination: "/.soulbox/run" }] },
      "unix:/run/x/agent.sock",
    ],
    ["nothing yet", { address: "" }, undefined],
    ["an ended one", { state: "exited" }, undefined],
  ] as const)("finds the agent by %s", (_, change, address) => {
    expect(observationOf(LAUNCH, { ...container, ...change }).agentAddress).toBe(address);
  });

  it("takes the creation for the start while there is none, and ends only what is over", () => {
    const young = observationOf(LAUNCH, { ...container, startedAtMs: undefined });
    const over = observationOf(LAUNCH, { ...container, state: "exited" });

    expect(young).toMatchObject({ startedAtMs: 1000, endedAtMs: undefined });
    expect(over).toMatchObject({ startedAtMs: 1200, endedAtMs: 9000 });
  });
});

describe("goneObservation", () => {
  it("knows nothing but the name", () => {
    expect(goneObservation(LAUNCH, "abc")).toMatchObject({
      launchId: LAUNCH,
      nativeId: "abc",
      phase: "gone",
      agentAddress: undefined,
      startedAtMs: undefined,
    });
  });
});

describe("instantOf", () => {
  it.each([
    ["2026-11-25T11:07:13.759890022Z", Date.parse("2026-11-25T11:07:13.759Z")],
    ["0001-01-01T00:00:00Z", undefined],
    ["", undefined],
    [undefined, undefined],
  ])("reads %s", (text, ms) => {
    expect(instantOf(text)).toBe(ms);
  });
});
