import type { Sandbox } from "e2b";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Agent, canRun, until } from "./harness.ts";

describe.skipIf(!canRun)("pty", () => {
  let agent: Agent;
  let sandbox: Sandbox;
  beforeAll(async () => {
    agent = await Agent.startSandbox();
    sandbox = agent.sandbox();
  });
  afterAll(() => agent.stop());

  const open = async () => {
    let output = "";
    const decoder = new TextDecoder();
    const onData = (bytes: Uint8Array) => {
      output += decoder.decode(bytes, { stream: true });
    };
    const handle = await sandbox.pty.create({ cols: 80, rows: 24, onData, timeoutMs: 0 });
    const type = (text: string) =>
      sandbox.pty.sendInput(handle.pid, new TextEncoder().encode(text));
    return { handle, type, output: () => output };
  };

  it("is a terminal of its user's", async () => {
    const { handle, type, output } = await open();
    await type("tty; stat -c 'owner=%U' $(tty); stty size; exit 3\n");
    const error = await handle.wait().catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ exitCode: 3 });
    expect(output()).toMatch(/\/dev\/pts\/\d+/);
    expect(output()).toContain("owner=nobody");
    expect(output()).toContain("24 80");
  });

  it("changes its size and tells the programs in it", async () => {
    const { handle, type, output } = await open();
    await sandbox.pty.resize(handle.pid, { cols: 123, rows: 45 });
    await type("stty size; exit\n");
    await handle.wait();
    expect(output()).toContain("45 123");
  });

  it("is attached to again, by several clients at once", async () => {
    const { handle, type } = await open();
    await handle.disconnect();
    const outputs = ["", ""];
    const handles = await Promise.all(
      outputs.map((_, index) =>
        sandbox.pty.connect(handle.pid, {
          onData: (bytes) => {
            outputs[index] += Buffer.from(bytes).toString();
          },
        }),
      ),
    );
    await type("echo $((40 + 2))\n");
    await until(() => outputs.every((output) => /[\r\n]42\r/.test(output)));
    await type("exit\n");
    for (const attached of handles) expect((await attached.wait()).exitCode).toBe(0);
  });

  it("is killed with what runs in it", async () => {
    const { handle, type, output } = await open();
    await type("echo pid=$$; sleep 60.0625\n");
    await until(() => /pid=\d+/.test(output()));
    expect(await sandbox.pty.kill(handle.pid)).toBe(true);
    const error = await handle.wait().catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ exitCode: -1, error: "signal: killed" });
    expect(await sandbox.pty.kill(handle.pid)).toBe(false);
    await until(
      async () => !(await sandbox.commands.run("ps -eo args")).stdout.includes("sleep 60.0625"),
    );
  });

  it("refuses what only pipes can do, and pipes what only it can", async () => {
    const { handle } = await open();
    const process = { pid: handle.pid };
    const closed = await agent.call("process.Process/CloseStdin", { process });
    expect(closed.json.code).toBe("failed_precondition");
    const sent = await agent.call("process.Process/SendInput", {
      process,
      input: { stdin: "eA==" },
    });
    expect(sent.json.code).toBe("internal");
    await handle.kill();
    const piped = await sandbox.commands.run("sleep 60", { background: true });
    const resize = { process: { pid: piped.pid }, pty: { size: { cols: 1, rows: 1 } } };
    expect((await agent.call("process.Process/Update", resize)).json.code).toBe(
      "failed_precondition",
    );
    await piped.kill();
  });
});
