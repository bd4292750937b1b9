import { createRoute, type OpenAPIHono } from "@hono/zod-openapi";
import { parseSandboxId, type Sandbox } from "@soulbox/core";
import { FileView } from "@soulbox/protocol";
import { z } from "zod";
import { callAgent } from "../agent.ts";
import type { ApiEnv } from "../env.ts";
import type { ApiPorts } from "../ports.ts";
import { answer, guarded, PROBLEMS, routeGroup, SandboxParam } from "./parts.ts";

/** Longest path of Linux, bytes (PATH_MAX). */
const PATH_CHARS_MAX = 4096;
const BYTES = "application/octet-stream";
/** Headers of the agent's answer that describe the content. */
const CONTENT_HEADERS = [
  "accept-ranges",
  "content-disposition",
  "content-length",
  "content-range",
  "content-type",
  "etag",
  "last-modified",
];

const noNul = (text: string) => !text.includes("\0");
const fileQuery = z.strictObject({
  path: z
    .string()
    .min(1)
    .max(PATH_CHARS_MAX)
    .refine(noNul, "text without NUL")
    .openapi({ description: "Absolute, or relative to the user's home" }),
  user: z
    .string()
    .min(1)
    .max(64)
    .refine(noNul, "text without NUL")
    .optional()
    .openapi({ description: "Default: the template's user" }),
});

/** Reads and writes files in a sandbox. Contents stream through; nothing is held. */
export function fileRoutes(ports: ApiPorts): OpenAPIHono<ApiEnv> {
  const app = routeGroup();

  app.openapi(
    createRoute({
      ...guarded(ports, "sandboxes"),
      method: "get",
      path: "/v1/sandboxes/{id}/files",
      summary: "Read a file",
      description: "Understands `Range`.",
      request: { params: SandboxParam, query: fileQuery },
      responses: {
        200: {
          description: "Its content",
          content: { [BYTES]: { schema: z.string().meta({ format: "binary" }) } },
        },
        ...PROBLEMS,
      },
    }),
    async (c) => {
      const id = parseSandboxId(c.req.valid("param").id);
      const sandbox = await ports.controlPlane.get(c.get("caller"), id);
      const range = c.req.header("range");
      const response = await callAgent(ports, sandbox, agentPath(c.req.valid("query")), {
        headers: range === undefined ? {} : { range },
        signal: c.req.raw.signal,
      });
      const headers = new Headers();
      for (const name of CONTENT_HEADERS) {
        const value = response.headers.get(name);
        if (value !== null) headers.set(name, value);
      }
      return new Response(response.body, { status: response.status, headers });
    },
  );

  app.openapi(
    createRoute({
      ...guarded(ports, "sandboxes"),
      method: "put",
      path: "/v1/sandboxes/{id}/files",
      summary: "Write a file",
      description: "The body is the content, whatever its type. Parent directories are made.",
      request: {
        params: SandboxParam,
        query: fileQuery,
        body: { content: { "*/*": { schema: z.string().meta({ format: "binary" }) } } },
      },
      responses: { 200: answer(FileView, "The file"), ...PROBLEMS },
    }),
    async (c) => {
      const id = parseSandboxId(c.req.valid("param").id);
      const sandbox = await ports.controlPlane.get(c.get("caller"), id);
      const response = await upload(ports, sandbox, c.req.valid("query"), c.req.raw);
      const [file] = z
        .array(FileView)
        .min(1)
        .parse(await response.json());
      return c.json(FileView.parse(file), 200);
    },
  );

  return app;
}

function upload(
  ports: ApiPorts,
  sandbox: Sandbox,
  query: z.infer<typeof fileQuery>,
  request: Request,
): Promise<Response> {
  const length = request.headers.get("content-length");
  return callAgent(ports, sandbox, agentPath(query), {
    method: "POST",
    headers: {
      "content-type": BYTES,
      ...(length === null ? {} : { "content-length": length }),
    },
    body: request.body ?? new Uint8Array(0),
    duplex: "half",
    signal: request.signal,
  });
}

function agentPath({ path, user }: z.infer<typeof fileQuery>): string {
  const query = new URLSearchParams({ path, ...(user === undefined ? {} : { username: user }) });
  return `/files?${query}`;
}
