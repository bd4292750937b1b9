import { type Caller, ControlPlaneError, durationMs, epochMs } from "@soulbox/core";
import { describe, expect, it } from "vitest";
import { aSandbox, fakePorts, jumpingClock, NOW_MS } from "./fakes.ts";
import { awaitState, settle, settleFully, settleWithin, WAIT_MS_MAX } from "./settle.ts";

const CALLER: Caller = {
  tenantId: aSandbox().tenantId,
  scopes: new Set(),
  sandboxCountMax: 1,
};
const PENDING = aSandbox({ state: "pending" });
const RUNNING = aSandbox();
const LIVE = new AbortController().signal;
const never = new Promise<never>(() => undefined);

describe("settle", () => {
  it("asks for nothing when nothing is under way", async () => {
    expect(await settle(fakePorts(), RUNNING)).toBe(RUNNING);
  });

  it("goes on in the background, and is not aborted with the request", async () => {
    const works: Promise<unknown>[] = [];
    let given: AbortSignal | undefined;
    const ports = fakePorts({
      background: (work) => works.push(work),
      controlPlane: {
        settle: async (_sandbox, signal) => {
          given = signal;
          return RUNNING;
        },
      },
    });

    await settle(ports, PENDING);

    expect(works).toHaveLength(1);
    expect(given?.aborted).toBe(false);
  });

  it("tells the request why it failed, while the background never rejects", async () => {
    const works: Promise<unknown>[] = [];
    const logged: string[] = [];
    const ports = fakePorts({
      background: (work) => works.push(work),
      log: (event) => logged.push(event),
      controlPlane: {
        settle: () => Promise.reject(new ControlPlaneError("capacity_unavailable", "No room.")),
      },
    });

    await expect(settle(ports, PENDING)).rejects.toMatchObject({ code: "capacity_unavailable" });
    await expect(Promise.all(works)).resolves.toBeDefined();
    expect(logged).toEqual(["settle.failed"]);
  });
});

describe("settleWithin", () => {
  it("answers with the row as given when the time is over", async () => {
    const ports = fakePorts({ controlPlane: { settle: () => never } });

    expect(await settleWithin(ports, PENDING, durationMs(5))).toBe(PENDING);
  });

  it("answers with the settled row, and takes its own sleep back", async () => {
    let slept: AbortSignal | undefined;
    const ports = fakePorts({
      controlPlane: { settle: async () => RUNNING },
      clock: {
        ...jumpingClock(),
        sleep: (_ms, signal) => {
          slept = signal;
          return never;
        },
      },
    });

    expect(await settleWithin(ports, PENDING, durationMs(5))).toBe(RUNNING);
    expect(slept?.aborted).toBe(true);
  });
});

describe("settleFully", () => {
  it("waits for a move that another process has in hand", async () => {
    const rows = [PENDING, PENDING, RUNNING];
    const ports = fakePorts({
      controlPlane: { settle: async () => PENDING, get: async () => rows.shift() ?? RUNNING },
    });

    expect(await settleFully(ports, CALLER, PENDING, LIVE)).toBe(RUNNING);
  });

  it("ends with timeout when nothing comes of it", async () => {
    const clock = jumpingClock();
    const ports = fakePorts({
      clock,
      controlPlane: { settle: async () => PENDING, get: async () => PENDING },
    });

    await expect(settleFully(ports, CALLER, PENDING, LIVE)).rejects.toMatchObject({
      code: "timeout",
      retryable: true,
    });
    expect(clock.nowMs).toBe(epochMs(NOW_MS + WAIT_MS_MAX));
  });
});

describe("awaitState", () => {
  const poll = (rows: Parameters<typeof aSandbox>[0][], waitMs: number, state?: "paused") => {
    const left = rows.map((row) => aSandbox(row));
    const get = async () => (left.length > 1 ? left.shift() : left[0]) ?? RUNNING;
    const ports = fakePorts({ controlPlane: { get } });
    const wait = { waitMs: durationMs(waitMs), state };
    return awaitState(ports, CALLER, RUNNING.id, wait, LIVE).then((row) => row.state);
  };

  it("looks once without a wait", async () => {
    expect(await poll([{ state: "pending" }, { state: "running" }], 0)).toBe("pending");
  });

  it("waits for rest by default, for a state when one is named, and never past an end", async () => {
    expect(await poll([{ state: "pending" }, { state: "running" }], 9000)).toBe("running");
    expect(await poll([{ state: "running" }, { state: "paused" }], 9000, "paused")).toBe("paused");
    expect(await poll([{ state: "running" }, { state: "failed" }], 9000, "paused")).toBe("failed");
    expect(await poll([{ state: "running" }], 9000, "paused")).toBe("running");
  });

  it("ends with the client", async () => {
    const ports = fakePorts({ controlPlane: { get: async () => PENDING } });
    const wait = { waitMs: WAIT_MS_MAX, state: undefined };
    const gone = AbortSignal.abort(new Error("left"));

    await expect(awaitState(ports, CALLER, PENDING.id, wait, gone)).rejects.toThrow("left");
  });
});
