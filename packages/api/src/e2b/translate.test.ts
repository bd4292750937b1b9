import { isFinal, STATES } from "@soulbox/protocol";
import { describe, expect, it } from "vitest";
import { aSandbox, fakePorts } from "../fakes.ts";
import { NewSandbox } from "./requests.ts";
import {
  createInputOf,
  detailView,
  E2B_STATES,
  e2bState,
  listedView,
  sandboxView,
  sizeView,
} from "./translate.ts";

function inputOf(body: object, generation: "v1" | "v2" = "v2") {
  return createInputOf(NewSandbox.parse({ templateID: "base", ...body }), generation);
}

describe("states", () => {
  it("reads every state as running, paused or not found, and lists them so", () => {
    expect(STATES.map((state) => [state, e2bState(state)])).toEqual([
      ["pending", "running"],
      ["running", "running"],
      ["pausing", "paused"],
      ["paused", "paused"],
      ["resuming", "running"],
      ["terminating", undefined],
      ["terminated", undefined],
      ["failed", undefined],
    ]);
    for (const [name, states] of Object.entries(E2B_STATES)) {
      for (const state of states) expect(e2bState(state)).toBe(name);
    }
    expect(Object.values(E2B_STATES).flat().some(isFinal)).toBe(false);
  });
});

describe("createInputOf", () => {
  it("takes each generation's defaults", () => {
    expect(inputOf({}, "v1")).toMatchObject({ lifetimeMs: 15_000, secure: false });
    expect(inputOf({}, "v2")).toMatchObject({ lifetimeMs: 300_000, secure: true });
    expect(inputOf({ secure: false }, "v2").secure).toBe(true);
  });

  it("translates what is given", () => {
    const input = inputOf({
      timeout: 60,
      metadata: { a: "b" },
      envVars: { C: "d" },
      autoPause: true,
      autoResume: { enabled: true },
    });

    expect(input).toEqual({
      template: "base",
      lifetimeMs: 60_000,
      metadata: { a: "b" },
      env: { C: "d" },
      onExpiry: "pause",
      autoResume: true,
      secure: true,
      network: { internet: undefined, publicTraffic: true, maskRequestHost: undefined },
    });
  });

  it.each([
    [{}, undefined],
    [{ allow_internet_access: true }, undefined],
    [{ allow_internet_access: false }, false],
    [{ network: { denyOut: ["0.0.0.0/0"] } }, false],
    [{ network: { denyOut: ["0.0.0.0/0", "::/0"] } }, false],
    [{ allow_internet_access: true, network: { denyOut: ["0.0.0.0/0"] } }, false],
    [{ network: { allowOut: [], denyOut: [], rules: {}, httpsPorts: [] } }, undefined],
  ])("takes %j as internet %s", (body, internet) => {
    expect(inputOf(body).network?.internet).toBe(internet);
  });

  it("refuses deny-all with exceptions, which it can't enforce", () => {
    const network = { denyOut: ["0.0.0.0/0"], allowOut: ["1.1.1.1"] };

    expect(() => inputOf({ network })).toThrow("allowOut is not possible");
  });
});

describe("views", () => {
  it("give the token of a secure sandbox only", () => {
    expect(sandboxView(fakePorts(), aSandbox())).toHaveProperty("envdAccessToken");
    expect(sandboxView(fakePorts(), aSandbox({}, { secure: false }))).not.toHaveProperty(
      "envdAccessToken",
    );
  });

  it("hold no secret in lists, nor for readers", () => {
    const sandbox = aSandbox();
    const texts = JSON.stringify([listedView(sandbox), detailView(fakePorts(), sandbox, false)]);

    expect(texts).not.toMatch(/s3cret|access-|10\.0\.0\.9|native/);
  });

  it("round CPUs up to whole ones", () => {
    const size = (cpuMilli: number) => sizeView({ cpuMilli, memoryMib: 64, diskMib: 128 }).cpuCount;

    expect([size(100), size(1000), size(1001), size(4000)]).toEqual([1, 1, 2, 4]);
  });
});
