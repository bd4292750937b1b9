import { durationMs } from "@soulbox/core";
import { describe, expect, it } from "vitest";
import { manualClock, systemClock } from "./clock.ts";

const { signal } = new AbortController();

describe("manualClock", () => {
  it("stands still until it is told to go on", () => {
    const clock = manualClock(1000);

    const before = clock.now();
    clock.advance(250);

    expect(before).toBe(1000);
    expect(clock.now()).toBe(1250);
  });

  it("wakes sleepers in the order of their instants, equals in the order of their coming", async () => {
    const clock = manualClock(0);
    const woken: string[] = [];
    const sleep = (name: string, ms: number) =>
      clock.sleep(durationMs(ms), signal).then(() => woken.push(`${name}`));
    const all = [sleep("c", 30), sleep("a", 10), sleep("b", 20), sleep("b2", 20)];

    clock.advance(20);
    await Promise.all([all[1], all[2], all[3]]);
    const early = [...woken];
    clock.advance(10);
    await all[0];

    expect(early).toEqual(["a", "b", "b2"]);
    expect(woken).toEqual(["a", "b", "b2", "c"]);
    expect(clock.waiting).toBe(0);
  });

  it("ends a sleep with its signal's reason, and forgets it", async () => {
    const clock = manualClock(0);
    const controller = new AbortController();

    const sleeping = clock
      .sleep(durationMs(10), controller.signal)
      .catch((error: unknown) => error);
    controller.abort(new Error("enough"));

    expect(await sleeping).toEqual(new Error("enough"));
    expect(clock.waiting).toBe(0);
  });

  it("aborts a timeout when its time is over, with TimeoutError", () => {
    const clock = manualClock(0);
    const timeout = clock.timeout(durationMs(10), signal);

    clock.advance(9);
    const early = timeout.aborted;
    clock.advance(1);

    expect(early).toBe(false);
    expect(timeout.reason).toMatchObject({ name: "TimeoutError" });
  });

  it("aborts a timeout with its parent's reason", () => {
    const clock = manualClock(0);
    const parent = new AbortController();
    const timeout = clock.timeout(durationMs(10), parent.signal);

    parent.abort(new Error("parent"));

    expect(timeout.reason).toEqual(new Error("parent"));
    expect(clock.timeout(durationMs(10), parent.signal).reason).toEqual(new Error("parent"));
    expect(clock.waiting).toBe(0);
  });
});

describe("systemClock", () => {
  it("tells the machine's time and lets go of an aborted sleep", async () => {
    const clock = systemClock();
    const controller = new AbortController();

    const sleeping = clock.sleep(durationMs(60_000), controller.signal).catch((error) => error);
    controller.abort(new Error("enough"));

    expect(Math.abs(clock.now() - Date.now())).toBeLessThan(1000);
    expect(await sleeping).toEqual(new Error("enough"));
    await clock.sleep(durationMs(0), signal);
  });
});
