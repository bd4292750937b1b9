import { describe, expect, it } from "vitest";
import { abortable, createStartSlots } from "./slots.ts";

const { signal } = new AbortController();

describe("createStartSlots", () => {
  it("runs no more than its count at once, and all in the end, in order", async () => {
    const slots = createStartSlots(2);
    const gates = Array.from({ length: 5 }, () => Promise.withResolvers<void>());
    const began: number[] = [];

    const done = Promise.all(
      gates.map((gate, index) =>
        slots(() => {
          began.push(index);
          return gate.promise;
        }, signal),
      ),
    );
    await turn();
    const first = [...began];
    for (const gate of gates) gate.resolve();
    await done;

    expect(first).toEqual([0, 1]);
    expect(began).toEqual([0, 1, 2, 3, 4]);
  });

  it("ends the wait for a slot with the signal, and gives the slot to the next", async () => {
    const slots = createStartSlots(1);
    const gate = Promise.withResolvers<void>();
    const controller = new AbortController();
    const running = slots(() => gate.promise, signal);

    const waiting = slots(async () => "never", controller.signal).catch((error) => error);
    const next = slots(async () => "next", signal);
    controller.abort(new Error("enough"));
    gate.resolve();

    await running;
    expect(await waiting).toEqual(new Error("enough"));
    expect(await next).toBe("next");
  });

  it("frees the slot of a task that fails", async () => {
    const slots = createStartSlots(1);

    await expect(slots(() => Promise.reject(new Error("no")), signal)).rejects.toThrow("no");

    expect(await slots(async () => "yes", signal)).toBe("yes");
  });

  it("does not begin for a signal that is aborted", async () => {
    const slots = createStartSlots(1);

    await expect(slots(async () => "ran", AbortSignal.abort())).rejects.toThrow("aborted");
  });
});

describe("abortable", () => {
  it("passes the outcome on", async () => {
    expect(await abortable(Promise.resolve(1), signal)).toBe(1);
    await expect(abortable(Promise.reject(new Error("no")), signal)).rejects.toThrow("no");
  });

  it("lets go of a promise that never settles, before and after the abort", async () => {
    const controller = new AbortController();
    const never = new Promise<never>(() => {});

    const waiting = abortable(never, controller.signal).catch((error: unknown) => error);
    controller.abort(new Error("late"));

    expect(await waiting).toEqual(new Error("late"));
    await expect(abortable(never, controller.signal)).rejects.toThrow("late");
  });
});

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
