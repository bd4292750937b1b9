import { Sandbox, SandboxNotFoundError } from "e2b";
import { describe, expect } from "vitest";
import { it, ownSandbox, refusal } from "../fixture.ts";

describe("connect", () => {
  it("reaches the same running sandbox from its id", async () => {
    const sandbox = await ownSandbox();
    await sandbox.files.write("note", "left before");

    const again = await Sandbox.connect(sandbox.sandboxId);

    expect(again.sandboxId).toBe(sandbox.sandboxId);
    expect(await again.isRunning()).toBe(true);
    expect(await again.files.read("note")).toBe("left before");
  });

  it("does not shorten the time of a running sandbox", async () => {
    const sandbox = await ownSandbox({ timeoutMs: 120_000 });
    const before = await sandbox.getInfo();

    await Sandbox.connect(sandbox.sandboxId, { timeoutMs: 10_000 });

    expect((await sandbox.getInfo()).endAt).toEqual(before.endAt);
  });

  it("lengthens the time of a running sandbox", async () => {
    const sandbox = await ownSandbox({ timeoutMs: 60_000 });
    const before = await sandbox.getInfo();
    const askedAt = Date.now();

    await Sandbox.connect(sandbox.sandboxId, { timeoutMs: 150_000 });

    const after = await sandbox.getInfo();
    expect(after.endAt.getTime()).toBeGreaterThanOrEqual(askedAt + 150_000);
    expect(after.startedAt).toEqual(before.startedAt);
  });

  it("wakes a paused sandbox with its files, processes and token", async () => {
    const sandbox = await ownSandbox();
    await sandbox.files.write("note", "left before the pause");
    const sleeper = await sandbox.commands.run("sleep 300", { background: true, timeoutMs: 0 });
    expect(await sandbox.pause()).toBe(true);
    expect(await sandbox.isRunning()).toBe(false);

    const again = await Sandbox.connect(sandbox.sandboxId, { timeoutMs: 60_000 });

    expect(await again.isRunning()).toBe(true);
    expect((await again.getInfo()).state).toBe("running");
    expect(await again.files.read("note")).toBe("left before the pause");
    expect((await again.commands.list()).map(({ pid }) => pid)).toContain(sleeper.pid);
    expect(await sandbox.files.read("note")).toBe("left before the pause");
  });

  it("refuses a sandbox that was killed", async () => {
    const sandbox = await ownSandbox();
    await sandbox.kill();

    expect(await sandbox.isRunning()).toBe(false);
    await refusal(Sandbox.connect(sandbox.sandboxId), SandboxNotFoundError);
    await refusal(sandbox.connect(), SandboxNotFoundError);
  });
});
