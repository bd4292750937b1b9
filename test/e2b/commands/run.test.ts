import { CommandExitError, TimeoutError } from "e2b";
import { describe, expect } from "vitest";
import { it, ownSandbox, refusal, sharedSandbox } from "../fixture.ts";

const shared = sharedSandbox();

describe("commands.run", () => {
  it("gives output, errors and exit code of a command", async () => {
    const chunks: string[] = [];

    const result = await shared.sandbox.commands.run("echo out; echo err >&2", {
      onStdout: (chunk) => void chunks.push(chunk),
    });

    expect(result).toEqual({ exitCode: 0, error: undefined, stdout: "out\n", stderr: "err\n" });
    expect(chunks.join("")).toBe("out\n");
    const failed = shared.sandbox.commands.run("echo half; echo why >&2; exit 7");
    expect(await refusal(failed, CommandExitError)).toMatchObject({
      exitCode: 7,
      error: "exit status 7",
      stdout: "half\n",
      stderr: "why\n",
    });
  });

  it("passes a text of several lines unchanged", async () => {
    const text = "first line\n\n  third line, indented\nlast line";

    const { stdout } = await shared.sandbox.commands.run(`cat <<'END'\n${text}\nEND`);

    expect(stdout).toBe(`${text}\n`);
  });

  it("passes special characters unchanged", async () => {
    const text = '!@#$%^&*()_+-=[]{}|;:",.<>/?`~\\n é 漢字 🦊\t.';

    const { stdout } = await shared.sandbox.commands.run(`printf %s '${text}'`);

    expect(stdout).toBe(text);
  });

  it("runs a command that ends within its time", async () => {
    const { exitCode, stdout } = await shared.sandbox.commands.run("sleep 0.2; echo done", {
      timeoutMs: 10_000,
    });

    expect({ exitCode, stdout }).toEqual({ exitCode: 0, stdout: "done\n" });
  });

  it("ends a command that takes longer than its time", async () => {
    const mark = "sleep 301";
    const startedAt = Date.now();

    const error = await refusal(
      shared.sandbox.commands.run(mark, { timeoutMs: 1000 }),
      TimeoutError,
    );

    expect(error.message).toMatch(/deadline_exceeded/);
    expect(Date.now() - startedAt).toBeLessThan(5000);
    await expect
      .poll(async () => (await shared.sandbox.commands.list()).map(({ args }) => args.at(-1)))
      .not.toContain(mark);
  });

  it("delivers what a command printed before its time was over", async () => {
    const seen: string[] = [];
    const handle = await shared.sandbox.commands.run("while true; do echo tick; sleep 0.1; done", {
      background: true,
      timeoutMs: 1500,
      onStdout: (chunk) => void seen.push(chunk),
    });

    await refusal(handle.wait(), TimeoutError);

    expect(seen.join("")).toMatch(/^(tick\n)+$/);
    expect(handle.stdout).toBe(seen.join(""));
  });

  it("says that the sandbox was killed when that cuts a command off", async () => {
    const sandbox = await ownSandbox();
    const handle = await sandbox.commands.run("echo on; sleep 300", { background: true });
    await expect.poll(() => handle.stdout).toBe("on\n");
    const waiting = refusal(handle.wait(), TimeoutError);

    await sandbox.kill();

    expect((await waiting).message).toMatch(/killed or reached its end of life/);
    expect(handle.stdout).toBe("on\n");
  });
});
