import { spawn } from "node:child_process";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { MUTATIONS } from "./mutations.ts";
import { simulate } from "./run.ts";

const MAIN = join(import.meta.dirname, "main.ts");
const MUTATE = join(import.meta.dirname, "mutate.ts");
const SEEDS = 5000;
const EVENTS = 320;
/** Every planted bug must be found within so many seeds. */
const MUTANT_SEEDS = 2000;

/** Plays seeds in a process of their own, so that both cores of a small machine have work. */
function play(args: readonly string[], mutation?: string): Promise<{ code: number; text: string }> {
  const before = mutation === undefined ? [] : ["--import", MUTATE];
  const child = spawn(process.execPath, [...before, MAIN, ...args], {
    env: { ...process.env, ...(mutation !== undefined && { SOULBOX_MUTATION: mutation }) },
  });
  let text = "";
  child.stdout.on("data", (chunk) => {
    text += chunk;
  });
  child.stderr.on("data", (chunk) => {
    text += chunk;
  });
  return new Promise((resolve) => child.on("exit", (code) => resolve({ code: code ?? -1, text })));
}

describe("simulator", () => {
  it(`keeps every promise over ${SEEDS} seeds of ${EVENTS} events`, async () => {
    const half = SEEDS / 2;
    const rounds = [1, 1 + half].map((from) =>
      play(["--seeds", String(half), "--from", String(from), "--events", String(EVENTS)]),
    );

    for (const { code, text } of await Promise.all(rounds)) expect(code, text).toBe(0);
  });

  it("repeats a seed's history to the letter", async () => {
    const first = await simulate(42, EVENTS, 10_000);
    const second = await simulate(42, EVENTS, 10_000);

    expect(second.history).toEqual(first.history);
    expect(second.fingerprint).toBe(first.fingerprint);
    expect(first.events).toBeGreaterThan(EVENTS);
  });

  it("plays different histories from different seeds", async () => {
    const fingerprints = new Set<number>();

    for (let seed = 1; seed <= 20; seed += 1) {
      fingerprints.add((await simulate(seed, EVENTS)).fingerprint);
    }

    expect(fingerprints.size).toBe(20);
  });

  describe("finds a planted bug", () => {
    it.concurrent.for(MUTATIONS)("$name", async ({ name }, { expect }) => {
      const { code, text } = await play(["--seeds", String(MUTANT_SEEDS)], name);

      expect(text).toMatch(/^Seed \d+ breaks a promise/);
      expect(code).toBe(1);
    });
  });
});
