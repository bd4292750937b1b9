import { CommandExitError, NotFoundError } from "e2b";
import { describe, expect } from "vitest";
import { it, refusal, sharedSandbox } from "../fixture.ts";

/** More than Linux hands out by default. */
const NO_PID = 4_194_305;

const shared = sharedSandbox();

describe("commands.list", () => {
  it("lists what runs, with its command, arguments and place", async () => {
    const { commands } = shared.sandbox;
    const first = await commands.run("sleep 311", { background: true });
    const second = await commands.run("sleep 312", {
      background: true,
      cwd: "/tmp",
      envs: { COLOUR: "red" },
    });

    const listed = await commands.list();

    const byPid = new Map(listed.map((each) => [each.pid, each]));
    expect(byPid.get(first.pid)).toMatchObject({
      cmd: "/bin/bash",
      args: ["-l", "-c", "sleep 311"],
    });
    expect(byPid.get(second.pid)).toMatchObject({
      args: ["-l", "-c", "sleep 312"],
      cwd: "/tmp",
      envs: { COLOUR: "red" },
    });
    await Promise.all([first.kill(), second.kill()]);
    await expect
      .poll(async () => (await commands.list()).map(({ pid }) => pid))
      .not.toContain(first.pid);
  });
});

describe("commands.kill", () => {
  it("kills a process and ends whoever waits for it", async () => {
    const { commands } = shared.sandbox;
    const handle = await commands.run("sleep 313", { background: true });

    expect(await commands.kill(handle.pid)).toBe(true);

    expect(await refusal(handle.wait(), CommandExitError)).toMatchObject({
      exitCode: -1,
      error: "signal: killed",
    });
    await refusal(commands.run(`kill -0 ${handle.pid}`), CommandExitError);
  });

  it("says false when there is no such process", async () => {
    expect(await shared.sandbox.commands.kill(NO_PID)).toBe(false);
  });
});

describe("commands.connect", () => {
  it("follows a running process to its end", async () => {
    const { commands } = shared.sandbox;
    const started = await commands.run("read line; echo heard $line; exit 3", {
      background: true,
      stdin: true,
    });
    await started.disconnect();

    const handle = await commands.connect(started.pid);

    expect(handle.pid).toBe(started.pid);
    await handle.sendStdin("something\n");
    expect(await refusal(handle.wait(), CommandExitError)).toMatchObject({
      exitCode: 3,
      stdout: "heard something\n",
    });
  });

  it("refuses a process that does not exist", async () => {
    const error = await refusal(shared.sandbox.commands.connect(NO_PID), NotFoundError);

    expect(error.message).toMatch(/not_found/);
  });
});
