import { readFile } from "node:fs/promises";
import http from "node:http";
import {
  CommandExitError,
  InvalidArgumentError,
  NotFoundError,
  type Sandbox,
  TimeoutError,
} from "e2b";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Agent, canRun, frame, readFrames, until } from "./harness.ts";

const SHELL = (script: string) => ({ cmd: "/bin/sh", args: ["-c", script] });

describe.skipIf(!canRun)("commands", () => {
  let agent: Agent;
  let sandbox: Sandbox;
  beforeAll(async () => {
    agent = await Agent.startSandbox();
    sandbox = agent.sandbox();
  });
  afterAll(() => agent.stop());

  it("gives output and exit code", async () => {
    const result = await sandbox.commands.run("echo out; echo err >&2");
    expect(result).toMatchObject({ exitCode: 0, stdout: "out\n", stderr: "err\n" });
    await expect(sandbox.commands.run("exit 7")).rejects.toThrow(CommandExitError);
  });

  it("keeps multi-byte text and large output whole", async () => {
    const { stdout } = await sandbox.commands.run("seq 1 200000; printf 'héé 🎉'");
    expect(stdout.length).toBe(1_288_895 + 6);
    expect(stdout.endsWith("héé 🎉")).toBe(true);
  });

  it("lets programs open /dev/stdout, also as an ordinary user", async () => {
    const { stdout } = await sandbox.commands.run("echo there > /dev/stdout");
    expect(stdout).toBe("there\n");
  });

  it("runs as the user that was asked for, in its own session and without descriptors", async () => {
    const script = "id -u; id -g; ls /proc/self/fd | wc -l; ps -o pid=,pgid=,sid= -p $$";
    const { stdout } = await sandbox.commands.run(script, { user: "nobody" });
    const [uid, gid, count, ids = ""] = stdout.trim().split("\n");
    expect([uid, gid, count]).toEqual(["65534", "65534", "4"]);
    expect(new Set(ids.trim().split(/ +/)).size).toBe(1);
    const root = await sandbox.commands.run("id -u; cat /proc/self/status | grep CapInh", {
      user: "root",
    });
    expect(root.stdout).toContain("0\nCapInh:\t0000000000000000");
    const caps = await sandbox.commands.run("grep -E 'CapEff|CapPrm|Groups' /proc/self/status");
    expect(caps.stdout).toMatch(/Groups:\s*\nCapPrm:\s+0+\nCapEff:\s+0+\n/);
  });

  it("refuses users that do not exist", async () => {
    await expect(sandbox.commands.run("true", { user: "who" })).rejects.toThrow(
      "invalid username: 'who'",
    );
  });

  it("sets the environment and hides its own settings", async () => {
    const { stdout } = await sandbox.commands.run("env", { envs: { OWN: "mine", SHARED: "over" } });
    const env = new Map(stdout.split("\n").map((line) => line.split("=", 2) as [string, string]));
    expect(Object.fromEntries(env)).toMatchObject({
      E2B_SANDBOX: "true",
      E2B_SANDBOX_ID: "sandbox1",
      E2B_TEMPLATE_ID: "base",
      OWN: "mine",
      SHARED: "over",
      USER: "nobody",
      LOGNAME: "nobody",
      HOME: "/nonexistent",
    });
    expect([...env.keys()].filter((name) => name.startsWith("SOULBOX"))).toEqual([]);
    const envs = await agent.request("/envs");
    expect(JSON.parse(envs.body.toString())).toMatchObject({ SHARED: "from-init" });
  });

  it("starts in the directory that was asked for, else in the sandbox's", async () => {
    expect((await sandbox.commands.run("pwd")).stdout.trim()).toBe(agent.workdir);
    expect((await sandbox.commands.run("pwd", { cwd: "/usr" })).stdout.trim()).toBe("/usr");
    await expect(sandbox.commands.run("pwd", { cwd: "/nowhere" })).rejects.toThrow(
      InvalidArgumentError,
    );
  });

  it("writes to and closes standard input", async () => {
    const handle = await sandbox.commands.run("cat; echo end", { background: true, stdin: true });
    await sandbox.commands.sendStdin(handle.pid, "one\n");
    await sandbox.commands.sendStdin(handle.pid, "");
    await sandbox.commands.sendStdin(handle.pid, "b".repeat(300_000));
    await sandbox.commands.closeStdin(handle.pid);
    const { stdout } = await handle.wait();
    expect(stdout).toBe(`one\n${"b".repeat(300_000)}end\n`);
  });

  it("refuses input for a process without it", async () => {
    const handle = await sandbox.commands.run("sleep 60", { background: true });
    const process = { pid: handle.pid };
    const input = { stdin: Buffer.from("x").toString("base64") };
    const sent = await agent.call("process.Process/SendInput", { process, input });
    expect(sent.json.code).toBe("internal");
    const typed = await agent.call("process.Process/SendInput", {
      process,
      input: { pty: "eA==" },
    });
    expect(typed.json.code).toBe("internal");
    await handle.kill();
  });

  it("kills with the words that clients compare", async () => {
    const handle = await sandbox.commands.run("sleep 60 & sleep 60", { background: true });
    expect(await sandbox.commands.kill(handle.pid)).toBe(true);
    const error = await handle.wait().catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ exitCode: -1, error: "signal: killed" });
    expect(await sandbox.commands.kill(handle.pid)).toBe(false);
  });

  it("ends a command at its limit, with everything it started", async () => {
    const marker = `7${Date.now() % 100000}`;
    const run = sandbox.commands.run(`sleep ${marker} & sleep ${marker}`, { timeoutMs: 300 });
    await expect(run).rejects.toThrow(TimeoutError);
    await until(async () => {
      const { stdout } = await sandbox.commands.run("ps -eo args");
      return !stdout.includes(`sleep ${marker}`);
    });
  });

  it("answers a reached limit with deadline_exceeded", async () => {
    const message = { process: SHELL("sleep 60"), stdin: false };
    const { status, frames } = await agent.stream("process.Process/Start", message, {
      "connect-timeout-ms": "200",
    });
    expect(status).toBe(200);
    expect(frames.at(-1)).toMatchObject({
      flags: 2,
      json: { error: { code: "deadline_exceeded" } },
    });
  });

  it("lists, finds by tag and attaches several clients", async () => {
    const body = frame({ process: SHELL("read x; echo got $x"), tag: "job" });
    const first = openStream(agent, "Start", body);
    const { event } = await first.next();
    const { pid } = event.start;
    const second = openStream(agent, "Connect", frame({ process: { tag: "job" } }));
    expect((await second.next()).event.start.pid).toBe(pid);
    const listed = await agent.call("process.Process/List", {});
    expect(listed.json.processes).toContainEqual({
      config: { cmd: "/bin/sh", args: ["-c", "read x; echo got $x"], envs: {}, cwd: agent.workdir },
      pid,
      tag: "job",
    });
    const input = { stdin: Buffer.from("it\n").toString("base64") };
    await agent.call("process.Process/SendInput", { process: { tag: "job" }, input });
    for (const stream of [first, second]) {
      const { data } = (await stream.next()).event;
      expect(Buffer.from(data.stdout, "base64").toString()).toBe("got it\n");
      expect((await stream.next()).event.end).toEqual({
        exitCode: 0,
        exited: true,
        status: "exit status 0",
      });
    }
  });

  it("keeps the end of a process for clients that connect late", async () => {
    const started = await agent.stream("process.Process/Start", {
      process: SHELL("exit 5"),
      stdin: false,
    });
    const { pid } = started.frames[0]?.json.event.start ?? {};
    const late = await agent.stream("process.Process/Connect", { process: { pid } });
    expect(late.frames.map(({ json }) => json)).toEqual([
      { event: { start: { pid } } },
      {
        event: {
          end: { exitCode: 5, exited: true, status: "exit status 5", error: "exit status 5" },
        },
      },
      {},
    ]);
    await expect(sandbox.commands.connect(4_000_000)).rejects.toThrow(NotFoundError);
  });

  it("lets a process live when its client goes", async () => {
    const stream = openStream(
      agent,
      "Start",
      frame({ process: SHELL("while :; do echo x; done"), tag: "loud" }),
    );
    await stream.next();
    stream.close();
    const again = openStream(agent, "Connect", frame({ process: { tag: "loud" } }));
    await again.next();
    expect((await again.next()).event.data).toBeDefined();
    again.close();
    await agent.call("process.Process/SendSignal", {
      process: { tag: "loud" },
      signal: "SIGNAL_SIGKILL",
    });
  });

  it("holds a process back while its client does not read", async () => {
    const script = "dd if=/dev/zero bs=1M count=400 2>/dev/null; echo done >&2";
    const stream = openStream(
      agent,
      "Start",
      frame({ process: SHELL(script), tag: "big", stdin: false }),
    );
    const { pid } = (await stream.next()).event.start;
    stream.pause();
    const written = async () => {
      const children = (await readFile(`/proc/${pid}/task/${pid}/children`, "utf8")).trim();
      return await readFile(`/proc/${children}/io`, "utf8");
    };
    let last = "";
    await until(async () => {
      const before = last;
      last = await written();
      return last === before && last.includes("wchar");
    });
    const memory = await readFile(`/proc/${agent.process.pid}/status`, "utf8");
    expect(Number(/VmRSS:\s+(\d+)/.exec(memory)?.[1])).toBeLessThan(200_000);
    stream.close();
    await agent.call("process.Process/SendSignal", { process: { tag: "big" }, signal: 9 });
  });

  it("sends keepalives in silence", async () => {
    const headers = { "keepalive-ping-interval": "1" };
    const message = { process: SHELL("sleep 1.5"), stdin: false };
    const { frames } = await agent.stream("process.Process/Start", message, headers);
    expect(frames.map(({ json }) => Object.keys(json.event ?? { over: 1 })[0])).toEqual([
      "start",
      "keepalive",
      "end",
      "over",
    ]);
  });

  it("outlives a user who kills everything", async () => {
    await sandbox.commands.run("kill -9 -1", { user: "nobody" }).catch(() => undefined);
    expect((await sandbox.commands.run("echo alive")).stdout).toBe("alive\n");
  });

  it("names the field of what is not right", async () => {
    const cases: [object, string, string][] = [
      [{}, "invalid_argument", "process is missing"],
      [{ process: { cmd: 5 } }, "invalid_argument", "cmd: 5"],
      [{ process: { cmd: "sh", args: "x" } }, "invalid_argument", "args"],
      [{ process: { cmd: "sh", args: [1] } }, "invalid_argument", "args[0]"],
      [{ process: { cmd: "sh", envs: { A: 1 } } }, "invalid_argument", 'envs["A"]'],
      [{ process: { cmd: "sh", envs: { "A=": "1" } } }, "invalid_argument", 'envs["A="]'],
      [{ process: { cmd: "sh", args: ["\0"] } }, "invalid_argument", "NUL"],
      [{ process: { cmd: "no-such-program" } }, "invalid_argument", "no-such-program"],
      [{ process: { cmd: "/etc/passwd" } }, "invalid_argument", "/etc/passwd"],
      [{ process: { cmd: "sh" }, tag: {} }, "invalid_argument", "tag"],
      [
        { process: { cmd: "sh" }, pty: { size: { cols: 70000, rows: 1 } } },
        "invalid_argument",
        "70000",
      ],
    ];
    for (const [message, code, text] of cases) {
      const { status, frames } = await agent.stream("process.Process/Start", message);
      expect(status).toBe(200);
      expect(frames).toHaveLength(1);
      expect(frames[0]?.json.error.code).toBe(code);
      expect(frames[0]?.json.error.message).toContain(text);
    }
    const selector = await agent.call("process.Process/SendSignal", { process: {} });
    expect(selector).toMatchObject({ status: 400, json: { code: "invalid_argument" } });
    const unknown = await agent.call("process.Process/SendSignal", {
      process: { pid: 4_000_000 },
      signal: 9,
    });
    expect(unknown).toMatchObject({ status: 404, json: { code: "not_found" } });
    const base64 = { process: { pid: 1 }, input: { stdin: "%%%" } };
    expect((await agent.call("process.Process/SendInput", base64)).json.code).toBe("not_found");
  });
});

/** A stream that is read event by event. */
function openStream(agent: Agent, method: string, body: Buffer) {
  const headers = { "content-type": "application/connect+json", "content-length": body.length };
  const request = http.request({
    host: "127.0.0.1",
    port: agent.port,
    path: `/process.Process/${method}`,
    method: "POST",
    headers,
    agent: false,
  });
  request.on("error", () => {});
  const response = new Promise<http.IncomingMessage>((resolve) => request.on("response", resolve));
  request.end(body);
  let input = Buffer.alloc(0);
  const next = async () => {
    const message = await response;
    for (;;) {
      const end = input.length < 5 ? Number.POSITIVE_INFINITY : 5 + input.readUInt32BE(1);
      if (input.length >= end) {
        const [first] = readFrames(input.subarray(0, end));
        input = input.subarray(end);
        return first?.json;
      }
      const piece: Buffer =
        message.read() ??
        (await new Promise((resolve) => message.once("readable", () => resolve(Buffer.alloc(0)))));
      input = Buffer.concat([input, piece]);
    }
  };
  return {
    next,
    pause: () => void response.then((message) => message.pause()),
    close: () => request.destroy(),
  };
}
