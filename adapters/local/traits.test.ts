import { describe, expect, it } from "vitest";
import type { LocalProbe } from "./probe.ts";
import { type LocalFacts, traitsOf } from "./traits.ts";

const PARENTS = { memory: "/m", cpu: "/c", pids: "/p", freezer: "/f" };
const PROBE: LocalProbe = {
  refused: undefined,
  identity: "root",
  cgroups: { version: 1, parents: PARENTS },
  loopback: "ip",
  filterLoaders: ["setpriv", "perl"],
  hasSudo: true,
  swapIsFree: false,
  host: { cpuMilli: 4000, memoryMib: 8192 },
};
const FACTS: LocalFacts = { filter: "perl", hasSudo: true, diskKind: "image", diskMibMax: 100_000 };
const RESOURCES = { cpuMilli: 2000, memoryMib: 512, diskMib: 10_240 };
const NETWORK = {
  internet: undefined,
  publicTraffic: true,
  maskRequestHost: undefined,
  bandwidthKbit: undefined,
};

const gaps = (probe: Partial<LocalProbe>, facts: Partial<LocalFacts> = {}) =>
  traitsOf({ ...PROBE, ...probe }, { ...FACTS, ...facts }).gaps.join("; ");

describe("fit", () => {
  const fit = (resources: object, network: object = {}, probe: Partial<LocalProbe> = {}) =>
    traitsOf({ ...PROBE, ...probe }, FACTS).fit({
      resources: { ...RESOURCES, ...resources },
      network: { ...NETWORK, ...network },
    });

  it("gives what is asked", () => {
    expect(fit({})).toEqual({ resources: RESOURCES });
    expect(fit({}, { internet: false })).toEqual({ resources: RESOURCES });
    expect(fit({ cpuMilli: 4000, memoryMib: 8192 })).toMatchObject({ resources: {} });
  });

  it.each([
    [{}, { internet: true }, /no network beyond their own loopback\.$/],
    [{}, { bandwidthKbit: 1000 }, /bandwidth/],
    [{ cpuMilli: 4001 }, {}, /4 CPUs, not 4\.001\.$/],
    [{ memoryMib: 8193 }, {}, /8192 MiB of memory, not 8193\.$/],
    [{ diskMib: 100_001 }, {}, /100000 MiB, not 100001\.$/],
  ])("refuses %o %o, with the host's numbers", (resources, network, pattern) => {
    expect(fit(resources, network)).toEqual({ refused: expect.stringMatching(pattern) });
  });

  it("refuses all where there can be no sandbox, and says why", () => {
    const refused = "There are no local sandboxes on this machine.";

    expect(fit({}, {}, { refused })).toEqual({ refused });
    expect(gaps({ refused })).toBe("There are no local sandboxes on this machine");
  });
});

describe("gaps", () => {
  it("are few where everything can be enforced", () => {
    expect(traitsOf(PROBE, FACTS).gaps).toHaveLength(6);
    expect(gaps({})).not.toMatch(/limited|filtered|sudo|pause/);
  });

  it.each<[says: RegExp, probe: Partial<LocalProbe>, facts?: Partial<LocalFacts>]>([
    [/memory isn't limited/, { cgroups: { version: 2, parents: {} } }],
    [/CPU isn't limited/, { cgroups: { version: 2, parents: {} } }],
    [/the number of processes isn't limited/, { cgroups: { version: 2, parents: {} } }],
    [/per user inside/, { identity: "mapped", cgroups: { version: 2, parents: {} } }],
    [/no pause/, { cgroups: { version: 2, parents: {} } }],
    [/one user only/, { identity: "single" }],
    [/no loopback/, { loopback: "none" }],
    [/swap isn't counted/, { swapIsFree: true }],
    [/system calls aren't filtered/, {}, { filter: undefined }],
    [/no sudo/, {}, { hasSudo: false }],
    [/three quarters of memoryMib/, {}, { diskKind: "memory" }],
    [/limited by diskMib alone/, { cgroups: { version: 2, parents: {} } }, { diskKind: "memory" }],
  ])("say %s where it is so", (says, probe, facts) => {
    expect(gaps(probe, facts)).toMatch(says);
    expect(gaps({})).not.toMatch(says);
  });
});
