import { SandboxNotFoundError } from "e2b";
import { describe, expect, vi } from "vitest";
import { it, ownSandbox, refusal } from "../fixture.ts";

/** How long after its end a sandbox may still answer: the reaper's period and the way back. */
const GRACE_MS = 10_000;

/** Clocks are read before and after a call; what happened in between is not known better. */
const CALL_MS = 3000;

describe("timeout", () => {
  it("shows the end that create asked for", async () => {
    const askedAt = Date.now();
    const sandbox = await ownSandbox({ timeoutMs: 75_000 });

    const { startedAt, endAt } = await sandbox.getInfo();

    expect(endAt.getTime()).toBeGreaterThanOrEqual(askedAt + 75_000);
    expect(endAt.getTime()).toBeLessThanOrEqual(startedAt.getTime() + 75_000 + CALL_MS);
  });

  it("ends a sandbox when its shortened time is over", async () => {
    const sandbox = await ownSandbox({ timeoutMs: 120_000 });

    await sandbox.setTimeout(2000);

    const { endAt } = await sandbox.getInfo();
    expect(endAt.getTime()).toBeLessThanOrEqual(Date.now() + 2000);
    expect(await sandbox.isRunning()).toBe(true);
    await expect
      .poll(() => sandbox.isRunning(), { timeout: 2000 + GRACE_MS, interval: 200 })
      .toBe(false);
    expect(Date.now()).toBeGreaterThanOrEqual(endAt.getTime());
    await vi.waitFor(() => refusal(sandbox.getInfo(), SandboxNotFoundError), GRACE_MS);
  });

  it("lets a sandbox live on when its shortened time was lengthened again", async () => {
    const sandbox = await ownSandbox({ timeoutMs: 120_000 });
    const witness = await ownSandbox({ timeoutMs: 120_000 });
    await sandbox.setTimeout(2000);
    await witness.setTimeout(2000);

    await sandbox.setTimeout(60_000);

    const { endAt } = await sandbox.getInfo();
    expect(endAt.getTime()).toBeGreaterThan(Date.now() + 60_000 - CALL_MS);
    await expect
      .poll(() => witness.isRunning(), { timeout: 2000 + GRACE_MS, interval: 200 })
      .toBe(false);
    expect(await sandbox.isRunning()).toBe(true);
    expect((await sandbox.commands.run("echo alive")).stdout).toBe("alive\n");
  });
});
