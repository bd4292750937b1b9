import { CommandExitError } from "e2b";
import { describe, expect, onTestFinished } from "vitest";
import { it, refusal, sharedSandbox } from "../fixture.ts";

const shared = sharedSandbox();

/** What a terminal showed so far. */
class Screen {
  #text = "";
  readonly #decoder = new TextDecoder();

  readonly onData = (data: Uint8Array): void => {
    this.#text += this.#decoder.decode(data, { stream: true });
  };

  get text(): string {
    return this.#text;
  }
}

async function openTerminal(options: { cols?: number; rows?: number } = {}) {
  const screen = new Screen();
  const { pty } = shared.sandbox;
  const handle = await pty.create({
    cols: options.cols ?? 80,
    rows: options.rows ?? 24,
    envs: { DRINK: "tea" },
    cwd: "/tmp",
    onData: screen.onData,
  });
  onTestFinished(async () => {
    await pty.kill(handle.pid);
  });
  return { pid: handle.pid, handle, screen };
}

async function type(pid: number, text: string): Promise<void> {
  await shared.sandbox.pty.sendInput(pid, new TextEncoder().encode(text));
}

describe("pty", () => {
  it("opens a login shell on a terminal with its size, variables and place", async () => {
    const { pid, handle, screen } = await openTerminal({ cols: 100, rows: 30 });

    await type(pid, 'echo "[$DRINK $PWD $TERM $(stty size)]"; tty; exit\n');

    expect((await handle.wait()).exitCode).toBe(0);
    expect(screen.text).toContain("[tea /tmp xterm-256color 30 100]");
    expect(screen.text).toMatch(/\/dev\/pts\/\d+/);
    expect(pid).toBe(handle.pid);
  });

  it("takes input line by line", async () => {
    const { pid, handle, screen } = await openTerminal();

    await type(pid, "A=41\n");
    await type(pid, "echo sum=$((A + 1))\n");
    await expect.poll(() => screen.text).toContain("sum=42");
    await type(pid, "exit 5\n");

    expect(await refusal(handle.wait(), CommandExitError)).toMatchObject({ exitCode: 5 });
  });

  it("tells the shell its new size", async () => {
    const { pid, screen } = await openTerminal({ cols: 80, rows: 24 });
    await type(pid, "echo before=$(tput cols)x$(tput lines)\n");
    await expect.poll(() => screen.text).toContain("before=80x24");

    await shared.sandbox.pty.resize(pid, { cols: 132, rows: 43 });

    await type(pid, "echo after=$(tput cols)x$(tput lines)\n");
    await expect.poll(() => screen.text).toContain("after=132x43");
  });

  it("goes on in the same shell after a reconnect", async () => {
    const { pid, handle, screen } = await openTerminal();
    await type(pid, "KEPT=yes; echo first=$((1 + 1))\n");
    await expect.poll(() => screen.text).toContain("first=2");
    await handle.disconnect();
    const shownBefore = screen.text;

    const later = new Screen();
    const again = await shared.sandbox.pty.connect(pid, { onData: later.onData });
    await type(pid, "echo kept=$KEPT; exit\n");

    expect(again.pid).toBe(pid);
    expect((await again.wait()).exitCode).toBe(0);
    expect(later.text).toContain("kept=yes");
    expect(screen.text).toBe(shownBefore);
  });

  it("ends when it is killed", async () => {
    const { pid, handle } = await openTerminal();

    expect(await shared.sandbox.pty.kill(pid)).toBe(true);

    expect(await refusal(handle.wait(), CommandExitError)).toMatchObject({
      exitCode: -1,
      error: "signal: killed",
    });
    expect((await shared.sandbox.commands.list()).map((each) => each.pid)).not.toContain(pid);
  });

  it("says false when there is no such terminal to kill", async () => {
    expect(await shared.sandbox.pty.kill(4_194_305)).toBe(false);
  });
});
