import { ControlPlaneError, durationMs, type Sandbox } from "@soulbox/core";
import type { ExecBody } from "@soulbox/protocol";
import { z } from "zod";
import { agentError, callAgent } from "./agent.ts";
import { decodeFrames, encodeFrame, FLAG_END, type Frame } from "./connect-frames.ts";
import type { ApiPorts } from "./ports.ts";

/** What a command does, in order: one `start`, any `output`, one `exit`. */
export type CommandEvent =
  | { readonly kind: "start"; readonly pid: number }
  | { readonly kind: "output"; readonly name: "stdout" | "stderr"; readonly text: string }
  | { readonly kind: "exit"; readonly exitCode: number; readonly signal: string | null };

/** The agent enforces the time limit; if it is late by more than this, we stop waiting. */
const GRACE_MS = 5000;
/** Bytes of standard input in one message. */
const INPUT_BYTES = 64 * 1024;

const OUTPUTS = ["stdout", "stderr"] as const;

/** What the agent streams. Absent members are default values of Protocol Buffers. */
const ProcessFrame = z.object({
  event: z
    .object({
      start: z.object({ pid: z.int() }).optional(),
      data: z.object({ stdout: z.string(), stderr: z.string() }).partial().optional(),
      end: z
        .object({
          exitCode: z.int().default(0),
          exited: z.boolean().default(false),
          status: z.string().default(""),
        })
        .optional(),
    })
    .default({}),
});
const EndFrame = z.object({
  error: z.object({ code: z.string(), message: z.string().default("") }).optional(),
});

/** Connect's codes as the HTTP statuses that {@link agentError} knows. */
const STATUS: Readonly<Record<string, number>> = {
  invalid_argument: 400,
  unauthenticated: 400,
  failed_precondition: 400,
  not_found: 404,
  resource_exhausted: 507,
};

/**
 * Runs a command by the agent and hands out what it does as it happens.
 *
 * @param signal Ends the reading, not the command; the command ends at its own time limit.
 * @throws timeout when the command was killed at its limit; sandbox_ended or state_conflict when
 *   the sandbox isn't running; provider_error when the stream is cut; as `callAgent`.
 */
export async function* runCommand(
  ports: ApiPorts,
  sandbox: Sandbox,
  body: ExecBody,
  signal: AbortSignal,
): AsyncGenerator<CommandEvent> {
  const limit = ports.clock.timeout(durationMs(body.timeoutMs + GRACE_MS), signal);
  const decoders = { stdout: new TextDecoder(), stderr: new TextDecoder() };
  for await (const { flag, message } of framesOf(ports, sandbox, body, limit)) {
    if (flag === FLAG_END) throw endError(sandbox, body, EndFrame.parse(message));
    const { start, data, end } = ProcessFrame.parse(message).event;
    if (start !== undefined) {
      yield { kind: "start", pid: start.pid };
      // Beside the reading: a command may want its output read before it takes more input.
      if (body.stdin !== undefined) void feed(ports, sandbox, start.pid, body.stdin, limit);
    }
    for (const name of OUTPUTS) {
      const bytes = fromBase64(data?.[name] ?? "");
      const text = decoders[name].decode(bytes, { stream: end === undefined });
      if (text !== "") yield { kind: "output", name, text };
    }
    if (end !== undefined) return yield exitOf(end);
  }
  throw cut(sandbox);
}

async function* framesOf(
  ports: ApiPorts,
  sandbox: Sandbox,
  body: ExecBody,
  limit: AbortSignal,
): AsyncGenerator<Frame> {
  const response = await start(ports, sandbox, body, limit);
  if (response.body === null) throw cut(sandbox);
  try {
    yield* decodeFrames(response.body);
  } catch (error) {
    if (limit.aborted) throw late(sandbox, body);
    throw cut(sandbox, error);
  }
}

function start(
  ports: ApiPorts,
  sandbox: Sandbox,
  body: ExecBody,
  signal: AbortSignal,
): Promise<Response> {
  const [cmd, ...args] = body.args ?? ["/bin/bash", "-l", "-c", body.command ?? ""];
  const process = { cmd, args, envs: body.env ?? {}, ...(body.cwd && { cwd: body.cwd }) };
  return callAgent(ports, sandbox, "/process.Process/Start", {
    method: "POST",
    headers: {
      "content-type": "application/connect+json",
      "connect-protocol-version": "1",
      "connect-timeout-ms": String(body.timeoutMs),
      ...(body.user && {
        authorization: `Basic ${toBase64(new TextEncoder().encode(`${body.user}:`))}`,
      }),
    },
    body: encodeFrame({ process, stdin: body.stdin !== undefined }),
    signal,
  });
}

/** Sends the standard input and closes it. A command that ended without reading it is no error. */
async function feed(
  ports: ApiPorts,
  sandbox: Sandbox,
  pid: number,
  stdin: string,
  signal: AbortSignal,
): Promise<void> {
  const bytes = new TextEncoder().encode(stdin);
  const send = async (method: string, message: object) => {
    await callAgent(ports, sandbox, `/process.Process/${method}`, {
      method: "POST",
      headers: { "content-type": "application/json", "connect-protocol-version": "1" },
      body: JSON.stringify({ process: { pid }, ...message }),
      signal,
    });
  };
  try {
    for (let from = 0; from < bytes.length; from += INPUT_BYTES) {
      const chunk = bytes.subarray(from, from + INPUT_BYTES);
      await send("SendInput", { input: { stdin: toBase64(chunk) } });
    }
    await send("CloseStdin", {});
  } catch (error) {
    ports.log("exec.stdin_unread", { sandboxId: sandbox.id, error });
  }
}

/** Why the stream ended before the command did. */
function endError(
  sandbox: Sandbox,
  body: ExecBody,
  { error }: z.infer<typeof EndFrame>,
): ControlPlaneError {
  if (error === undefined) return cut(sandbox);
  if (error.code === "deadline_exceeded") return late(sandbox, body);
  return agentError(sandbox, STATUS[error.code] ?? 500, error.message || error.code);
}

function late({ id }: Sandbox, { timeoutMs }: ExecBody): ControlPlaneError {
  const detail = `The command in sandbox ${id} ran longer than ${timeoutMs} ms and was killed.`;
  return new ControlPlaneError("timeout", detail, {
    hint: "Give a larger timeoutMs, or start it in the background.",
  });
}

function cut({ id }: Sandbox, cause?: unknown): ControlPlaneError {
  const detail = `The connection to sandbox ${id} was cut before the command ended.`;
  return new ControlPlaneError("provider_error", detail, {
    hint: "Look at the sandbox's state; the command may have run in part.",
    cause,
  });
}

/** A killed process reports `signal: killed` and no code of its own. */
function exitOf(end: { exitCode: number; exited: boolean; status: string }): CommandEvent {
  if (end.exited) return { kind: "exit", exitCode: end.exitCode, signal: null };
  const signal = end.status.replace(/^signal: /, "") || "unknown";
  return { kind: "exit", exitCode: end.exitCode === 0 ? -1 : end.exitCode, signal };
}

function toBase64(bytes: Uint8Array): string {
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
}

function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
}
