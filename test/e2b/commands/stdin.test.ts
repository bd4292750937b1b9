import type { CommandHandle } from "e2b";
import { describe, expect } from "vitest";
import { it, sharedSandbox } from "../fixture.ts";

const shared = sharedSandbox();

/** A program that gives back what it is given, until its input ends. */
async function echoing(): Promise<CommandHandle> {
  return shared.sandbox.commands.run("cat", { background: true, stdin: true });
}

describe("stdin", () => {
  it("reaches a process by its number", async () => {
    const cat = await echoing();

    await shared.sandbox.commands.sendStdin(cat.pid, "by number\n");

    await expect.poll(() => cat.stdout).toBe("by number\n");
    await cat.kill();
  });

  it("reaches a process through its handle", async () => {
    const cat = await echoing();

    await cat.sendStdin("by ");
    await cat.sendStdin("handle");

    await expect.poll(() => cat.stdout).toBe("by handle");
    await cat.kill();
  });

  it("ends when it is closed through the handle", async () => {
    const cat = await echoing();
    await cat.sendStdin("all there is");

    await cat.closeStdin();

    expect(await cat.wait()).toMatchObject({ exitCode: 0, stdout: "all there is" });
  });

  it("takes bytes that are no text", async () => {
    const handle = await shared.sandbox.commands.run("od -An -tx1 -v", {
      background: true,
      stdin: true,
    });

    await handle.sendStdin(Uint8Array.of(0x00, 0xff, 0x0a, 0xc3, 0x28));
    await handle.closeStdin();

    expect((await handle.wait()).stdout.trim()).toBe("00 ff 0a c3 28");
  });

  it("takes nothing and stays open", async () => {
    const cat = await echoing();

    await cat.sendStdin("");
    await cat.sendStdin("still open");

    await expect.poll(() => cat.stdout).toBe("still open");
    await cat.kill();
  });

  it("takes several lines unchanged", async () => {
    const cat = await echoing();
    const text = "one\n\n  three\nfour without an end";

    await cat.sendStdin(text);

    await expect.poll(() => cat.stdout).toBe(text);
    await cat.kill();
  });

  it("takes special characters unchanged", async () => {
    const cat = await echoing();
    const text = "!@#$%^&*()_+{}[]|\\:\"'<>?,./`~ é 漢字 🦊 \u0001\u001b[0m";

    await cat.sendStdin(text);

    await expect.poll(() => cat.stdout).toBe(text);
    await cat.kill();
  });
});
