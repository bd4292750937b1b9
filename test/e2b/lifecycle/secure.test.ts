import { Sandbox } from "e2b";
import { describe, expect } from "vitest";
import { it, ORIGIN, sharedSandbox, towards } from "../fixture.ts";

const AGENT_PORT = 49983;

describe("secured sandbox", () => {
  const shared = sharedSandbox({ secure: true });

  it("opens a file to a plain request only by a signed address", async () => {
    await shared.sandbox.files.write("secret.txt", "for those with the address");
    const address = await shared.sandbox.downloadUrl("secret.txt", {
      useSignatureExpiration: 60,
    });

    const signed = await fetch(address);
    const unsigned = await fetch(`${ORIGIN}/files?path=secret.txt`, {
      headers: towards(shared.sandbox, AGENT_PORT),
    });

    expect(signed.status).toBe(200);
    expect(await signed.text()).toBe("for those with the address");
    expect(unsigned.status).toBe(401);
    expect(await unsigned.json()).toMatchObject({ code: 401 });
  });

  it("gives its token to whoever connects with the key", async () => {
    const again = await Sandbox.connect(shared.sandbox.sandboxId);

    expect(await again.isRunning()).toBe(true);
    expect((await again.commands.run("echo let in")).stdout).toBe("let in\n");
    const open = await fetch(`${ORIGIN}/process.Process/List`, {
      method: "POST",
      headers: { ...towards(again, AGENT_PORT), "Content-Type": "application/json" },
      body: "{}",
    });
    expect(open.status).toBe(401);
    expect(await open.json()).toMatchObject({ code: 401 });
  });
});
