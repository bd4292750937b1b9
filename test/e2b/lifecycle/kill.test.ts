import { Sandbox, SandboxNotFoundError } from "e2b";
import { describe, expect } from "vitest";
import { it, MARK, ownSandbox, pages, refusal } from "../fixture.ts";

async function listedIds(): Promise<string[]> {
  const listed = await pages(Sandbox.list({ query: { metadata: MARK } }));
  return listed.flat().map(({ sandboxId }) => sandboxId);
}

describe("kill", () => {
  it("ends a sandbox known only by its id", async () => {
    const { sandboxId } = await ownSandbox();

    expect(await Sandbox.kill(sandboxId)).toBe(true);

    expect(await listedIds()).not.toContain(sandboxId);
    await refusal(Sandbox.getInfo(sandboxId), SandboxNotFoundError);
  });

  it("says false when there is no such sandbox", async () => {
    expect(await Sandbox.kill("i0000000000000000000")).toBe(false);
  });

  it("ends a sandbox through its own object, once", async () => {
    const sandbox = await ownSandbox();

    expect(await sandbox.kill()).toBe(true);

    expect(await sandbox.isRunning()).toBe(false);
    expect(await listedIds()).not.toContain(sandbox.sandboxId);
    expect(await sandbox.kill()).toBe(false);
  });
});
