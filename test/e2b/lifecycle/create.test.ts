import { randomUUID } from "node:crypto";
import { Sandbox, SandboxError } from "e2b";
import { describe, expect } from "vitest";
import { it, MARK, ownSandbox, pages, refusal } from "../fixture.ts";

describe("Sandbox.create", () => {
  it("gives a sandbox that runs commands", async () => {
    const sandbox = await ownSandbox();

    expect(sandbox.sandboxId).toMatch(/^[a-z0-9]+$/);
    expect(await sandbox.isRunning()).toBe(true);
    expect((await sandbox.commands.run("id -un")).stdout).toBe("user\n");
  });

  it("keeps the metadata it was given", async () => {
    const own = { customer: "ACME & sons", "a key": "50 % = ½", empty: "" };

    const sandbox = await ownSandbox({ metadata: own });

    expect((await sandbox.getInfo()).metadata).toEqual({ ...MARK, ...own });
  });

  it("kills the sandbox again when its MCP gateway does not start", async () => {
    const attempt = { attempt: randomUUID() };
    const creation = Sandbox.create("base", {
      mcp: { duckduckgo: {} },
      metadata: { ...MARK, ...attempt },
    });

    const error = await refusal(creation, SandboxError);

    expect(error.message).toMatch(/^Failed to start MCP gateway: .*mcp-gateway.*not found/s);
    const left = await pages(Sandbox.list({ query: { metadata: { ...MARK, ...attempt } } }));
    expect(left.flat()).toEqual([]);
  });
});

describe("Sandbox.getInfo", () => {
  it("tells what a sandbox is, since when and until when", async () => {
    const calledAt = Date.now();
    const sandbox = await ownSandbox({ timeoutMs: 120_000, metadata: { purpose: "info" } });

    const info = await Sandbox.getInfo(sandbox.sandboxId);

    expect(info).toMatchObject({
      sandboxId: sandbox.sandboxId,
      name: "base",
      metadata: { ...MARK, purpose: "info" },
      state: "running",
      envdVersion: expect.stringMatching(/^\d+\.\d+\.\d+$/),
      lifecycle: { onTimeout: "kill", autoResume: false },
      volumeMounts: [],
    });
    expect(info.templateId).not.toBe("");
    expect(info.cpuCount).toBeGreaterThanOrEqual(1);
    expect(info.memoryMB).toBeGreaterThanOrEqual(128);
    expect(info.startedAt.getTime()).toBeGreaterThanOrEqual(calledAt);
    expect(info.startedAt.getTime()).toBeLessThanOrEqual(Date.now());
    expect(info.endAt.getTime()).toBeGreaterThan(info.startedAt.getTime());
  });
});
