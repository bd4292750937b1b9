import { createRoute, type OpenAPIHono } from "@hono/zod-openapi";
import { parseSandboxId, type Sandbox } from "@soulbox/core";
import { ExecBody, ExecView } from "@soulbox/protocol";
import type { Context } from "hono";
import { streamSSE } from "hono/streaming";
import { z } from "zod";
import { requireRunning } from "../agent.ts";
import type { ApiEnv } from "../env.ts";
import type { ApiPorts } from "../ports.ts";
import { errorOf, problemOf } from "../problem.ts";
import { type CommandEvent, runCommand } from "../run-command.ts";
import { guardedBody, jsonOf, PROBLEMS, routeGroup, SandboxParam } from "./parts.ts";

/** Characters of each output that a collected answer holds; a stream has no such limit. */
export const OUTPUT_CHARS_MAX = 1024 * 1024;
const EVENT_STREAM = "text/event-stream";

/** Runs commands. */
export function execRoutes(ports: ApiPorts): OpenAPIHono<ApiEnv> {
  const app = routeGroup();
  app.openapi(
    createRoute({
      ...guardedBody(ports, "sandboxes"),
      method: "post",
      path: "/v1/sandboxes/{id}/exec",
      summary: "Run a command",
      description:
        "Answers when it ended, with its output up to a limit. With `Accept: text/event-stream` " +
        "it streams the events `start` {pid}, `stdout` and `stderr` {text}, then `exit` " +
        "{exitCode, signal}, or `error` with a problem. A client that leaves does not end the " +
        "command; its timeout does.",
      request: { params: SandboxParam, body: jsonOf(ExecBody) },
      responses: {
        200: {
          description: "What it did",
          content: {
            "application/json": { schema: ExecView },
            [EVENT_STREAM]: { schema: z.string() },
          },
        },
        ...PROBLEMS,
      },
    }),
    async (c) => {
      const id = parseSandboxId(c.req.valid("param").id);
      const body = c.req.valid("json");
      const sandbox = await ports.controlPlane.get(c.get("caller"), id);
      requireRunning(sandbox);
      const wantsStream = (c.req.header("accept") ?? "").includes(EVENT_STREAM);
      if (wantsStream) return streamCommand(ports, c, sandbox, body);
      return c.json(await collect(runCommand(ports, sandbox, body, c.req.raw.signal)), 200);
    },
  );
  return app;
}

/** Puts a command's events together. Output beyond the limit is read and dropped. */
export async function collect(
  events: AsyncIterable<CommandEvent>,
): Promise<z.infer<typeof ExecView>> {
  const output = { stdout: "", stderr: "" };
  let truncated = false;
  for await (const event of events) {
    if (event.kind === "output") {
      const room = OUTPUT_CHARS_MAX - output[event.name].length;
      output[event.name] += event.text.slice(0, room);
      truncated ||= event.text.length > room;
    }
    if (event.kind === "exit") {
      return { exitCode: event.exitCode, signal: event.signal, ...output, truncated };
    }
  }
  throw new Error("A command ended without an exit.");
}

function streamCommand(
  ports: ApiPorts,
  c: Context<ApiEnv>,
  sandbox: Sandbox,
  body: ExecBody,
): Response {
  return streamSSE(c, async (stream) => {
    const left = new AbortController();
    stream.onAbort(() => left.abort());
    const write = (event: string, data: object) =>
      stream.writeSSE({ event, data: JSON.stringify(data) });
    try {
      for await (const event of runCommand(ports, sandbox, body, left.signal)) {
        if (event.kind === "start") await write("start", { pid: event.pid });
        if (event.kind === "output") await write(event.name, { text: event.text });
        if (event.kind === "exit") {
          await write("exit", { exitCode: event.exitCode, signal: event.signal });
        }
      }
    } catch (error) {
      if (!left.signal.aborted) await write("error", problemOf(c, errorOf(ports, c, error)));
    }
  });
}
