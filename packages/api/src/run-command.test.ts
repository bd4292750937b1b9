import { ExecBody } from "@soulbox/protocol";
import { describe, expect, it } from "vitest";
import { encodeFrame, FLAG_END } from "./connect-frames.ts";
import { aSandbox, fakePorts, jumpingClock } from "./fakes.ts";
import type { ApiPorts } from "./ports.ts";
import { collect, OUTPUT_CHARS_MAX } from "./routes/exec.ts";
import { type CommandEvent, runCommand } from "./run-command.ts";

const LIVE = new AbortController().signal;
const START = { event: { start: { pid: 7 } } };

function stdout(...bytes: readonly number[]) {
  return { event: { data: { stdout: Buffer.from(bytes).toString("base64") } } };
}

function end(fields: object) {
  return { event: { end: fields } };
}

function answering(...messages: readonly object[]): Partial<ApiPorts> {
  const frames = messages.map((message) => encodeFrame(message));
  const last = encodeFrame({});
  last[0] = FLAG_END;
  const body = Buffer.concat([...frames, last]);
  return { agentFetch: async () => new Response(body) };
}

async function run(ports: Partial<ApiPorts>, body: object = {}): Promise<CommandEvent[]> {
  const events: CommandEvent[] = [];
  const asked = ExecBody.parse({ command: "x", ...body });
  for await (const event of runCommand(fakePorts(ports), aSandbox(), asked, LIVE)) {
    events.push(event);
  }
  return events;
}

describe("runCommand", () => {
  it("puts characters together that messages cut apart", async () => {
    const [, ...texts] = await run(
      answering(START, stdout(0x61, 0xc3), stdout(0xa9), end({ exited: true })),
    );

    expect(texts).toEqual([
      { kind: "output", name: "stdout", text: "a" },
      { kind: "output", name: "stdout", text: "é" },
      { kind: "exit", exitCode: 0, signal: null },
    ]);
  });

  it("shows half a character at the end as a replacement, not as nothing", async () => {
    const events = await run(answering(START, stdout(0xc3), end({ exited: true })));

    expect(events.at(1)).toEqual({ kind: "output", name: "stdout", text: "\ufffd" });
  });

  it("never takes a kill for success", async () => {
    const events = await run(answering(START, end({ exitCode: -1, status: "signal: killed" })));
    const bare = await run(answering(START, end({})));

    expect(events.at(-1)).toEqual({ kind: "exit", exitCode: -1, signal: "killed" });
    expect(bare.at(-1)).toEqual({ kind: "exit", exitCode: -1, signal: "unknown" });
  });

  it("skips what keeps the connection alive", async () => {
    const events = await run(answering({ event: { keepalive: {} } }, START, end({ exited: true })));

    expect(events.map(({ kind }) => kind)).toEqual(["start", "exit"]);
  });

  it("gives up on an agent that is late with its own limit", async () => {
    const limit = AbortSignal.abort(new DOMException("late", "TimeoutError"));
    const body = new ReadableStream({ pull: () => Promise.reject(limit.reason) });
    const ports = {
      clock: { ...jumpingClock(), timeout: () => limit },
      agentFetch: async () => new Response(body),
    };

    await expect(run(ports)).rejects.toMatchObject({ code: "timeout" });
  });

  it("feeds long input piece by piece, and doesn't mind a command that reads none", async () => {
    const sizes: number[] = [];
    const agent = answering(START, end({ exited: true })).agentFetch;
    const ports: Partial<ApiPorts> = {
      agentFetch: async (sandbox, path, init) => {
        if (path.endsWith("/Start") && agent) return agent(sandbox, path, init);
        sizes.push(Buffer.from(JSON.parse(String(init.body)).input.stdin, "base64").length);
        if (sizes.length === 2) return Response.json({ message: "gone" }, { status: 404 });
        return Response.json({});
      },
    };

    await run(ports, { stdin: "x".repeat(200_000) });
    await new Promise((resolve) => setImmediate(resolve));

    expect(sizes).toEqual([65_536, 65_536]);
  });
});

describe("collect", () => {
  async function* talkative(chunks: number): AsyncGenerator<CommandEvent> {
    const text = "x".repeat(400_000);
    for (let n = 0; n < chunks; n++) yield { kind: "output", name: "stdout", text };
    yield { kind: "output", name: "stderr", text: "last" };
    yield { kind: "exit", exitCode: 0, signal: null };
  }

  it("drops output beyond the limit, says so, and still tells how it ended", async () => {
    const result = await collect(talkative(10));

    expect(result).toMatchObject({ exitCode: 0, stderr: "last", truncated: true });
    expect(result.stdout).toHaveLength(OUTPUT_CHARS_MAX);
  });

  it("claims nothing was dropped when nothing was", async () => {
    expect((await collect(talkative(2))).truncated).toBe(false);
  });
});
