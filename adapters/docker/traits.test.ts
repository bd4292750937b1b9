import { describe, expect, it } from "vitest";
import type { EngineFacts } from "./facts.ts";
import { attachmentOf, traitsOf } from "./traits.ts";

const FACTS: EngineFacts = {
  cpuMilli: 2000,
  memoryMib: 4096,
  diskMib: 50_000,
  limits: { memory: true, swap: true, cpu: true, pids: true },
  seccomp: true,
  disk: "hard",
  reach: "direct",
  sockets: true,
  engine: "docker",
  egress: "filtered",
  bandwidth: true,
  runtime: undefined,
};

const SIZE = { cpuMilli: 1000, memoryMib: 512, diskMib: 1024 };

function fit(facts: Partial<EngineFacts>, size = {}, network = {}) {
  const open = { internet: undefined, bandwidthKbit: undefined, ...network };
  return traitsOf({ ...FACTS, ...facts }).fit({
    resources: { ...SIZE, ...size },
    network: { publicTraffic: true, maskRequestHost: undefined, ...open },
  });
}

describe("fit", () => {
  it("gives what is asked, and no less than the engine's smallest", () => {
    expect(fit({})).toEqual({ resources: SIZE });
    expect(fit({}, { cpuMilli: 1, memoryMib: 1 })).toEqual({
      resources: { ...SIZE, cpuMilli: 10, memoryMib: 6 },
    });
  });

  it.each([
    ["more processors than there are", {}, { cpuMilli: 2500 }, {}, "has 2 CPUs, not 2.5"],
    ["more memory than there is", {}, { memoryMib: 5000 }, {}, "4096 MiB of memory, not 5000"],
    ["more disk than there is", {}, { diskMib: 60_000 }, {}, "50000 MiB of disk, not 60000"],
    ["a disk beyond any", { diskMib: undefined }, { diskMib: 2 ** 21 }, {}, "MiB of disk"],
    ["unlimited processors", { limits: { ...FACTS.limits, cpu: false } }, {}, {}, "limit CPU"],
    ["unlimited memory", { limits: { ...FACTS.limits, memory: false } }, {}, {}, "limit memory"],
    ["unfiltered internet", { egress: "none" }, {}, { internet: true }, "Egress rules"],
    ["a socket out of reach", { sockets: false }, {}, { internet: false }, "not here"],
    ["an unkept bandwidth", { bandwidth: false }, {}, { bandwidthKbit: 1000 }, "bandwidth"],
  ] as const)("refuses %s in a sentence", (_, facts, size, network, words) => {
    const answer = fit(facts, size, network);

    expect(answer).toEqual({ refused: expect.stringContaining(words) });
    expect(answer).toEqual({ refused: expect.stringMatching(/\.$/) });
  });

  it("takes a bandwidth for granted where there is no network", () => {
    const network = { internet: false, bandwidthKbit: 1000 };

    expect(fit({ bandwidth: false }, {}, network)).toEqual({ resources: SIZE });
  });
});

describe("attachmentOf", () => {
  it.each([
    ["filtered", undefined, "bridge"],
    ["filtered", true, "bridge"],
    ["filtered", false, "none"],
    ["open", undefined, "bridge"],
    ["open", false, "none"],
    ["untried", undefined, "bridge"],
    ["none", undefined, "none"],
    ["none", true, "none"],
  ] as const)("egress %s and internet %s: %s", (egress, internet, attachment) => {
    expect(attachmentOf({ internet }, { ...FACTS, egress })).toBe(attachment);
  });
});

describe("gaps", () => {
  it("name what isn't enforced, and nothing that is", () => {
    const whole = traitsOf(FACTS).gaps.join("; ");
    const poor = traitsOf({
      ...FACTS,
      limits: { memory: true, swap: false, cpu: true, pids: false },
      seccomp: false,
      disk: "measured",
      reach: "published",
      egress: "open",
      bandwidth: false,
    }).gaps.join("; ");

    expect(whole).not.toMatch(/disk|swap|processes|calls|loopback|private|bandwidth/);
    for (const word of ["disk", "swap", "processes", "calls", "loopback", "private", "bandwidth"]) {
      expect(poor).toContain(word);
    }
  });

  it("tell the runtime's isolation", () => {
    expect(traitsOf(FACTS).isolation).toBe("container");
    expect(traitsOf({ ...FACTS, runtime: "runsc" }).isolation).toBe("gvisor");
  });
});
