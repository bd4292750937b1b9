import { describe, expect, it } from "vitest";
import type { HttpTest, Open } from "./http.contract.ts";

/** A Connect stream of the given messages; the last one with the flag of the end. */
function connectStream(messages: readonly object[]): Response {
  const chunks = messages.map((message, index) => {
    const json = Buffer.from(JSON.stringify(message));
    const prefix = Buffer.alloc(5);
    prefix[0] = index === messages.length - 1 ? 2 : 0;
    prefix.writeUInt32BE(json.length, 1);
    return Buffer.concat([prefix, json]);
  });
  return new Response(Buffer.concat(chunks), {
    headers: { "content-type": "application/connect+json" },
  });
}

const base64 = (text: string) => Buffer.from(text).toString("base64");
const START = { event: { start: { pid: 7 } } };
const DONE = { event: { end: { exited: true, status: "exit status 0" } } };

async function running({ world, call }: HttpTest) {
  const key = await world.key("acme");
  const { json } = await call("POST", "/v1/sandboxes", { key });
  return { key, path: `/v1/sandboxes/${json.id}` };
}

/** Commands and files of a sandbox, by its agent. */
export function inSandboxCases(open: Open): void {
  describe("exec", () => {
    it("collects the output of a command and how it ended", async () => {
      const test = await open();
      const { key, path } = await running(test);
      let asked: unknown;
      test.world.agent = async (_sandbox, route, init) => {
        const frame = Buffer.from(await new Response(init.body).arrayBuffer());
        asked = { route, message: JSON.parse(frame.subarray(5).toString()), headers: init.headers };
        const data = { stdout: base64("hé"), stderr: base64("oh") };
        const end = { exitCode: 3, exited: true, status: "exit status 3" };
        return connectStream([START, { event: { data } }, { event: { end } }, {}]);
      };

      const { status, json } = await test.call("POST", `${path}/exec`, {
        key,
        json: { command: "x", cwd: "/tmp", env: { A: "1" }, user: "root", timeoutMs: 5000 },
      });

      expect(status).toBe(200);
      expect(json).toEqual({
        exitCode: 3,
        signal: null,
        stdout: "hé",
        stderr: "oh",
        truncated: false,
      });
      expect(asked).toMatchObject({
        route: "/process.Process/Start",
        message: {
          process: { cmd: "/bin/bash", args: ["-l", "-c", "x"], envs: { A: "1" }, cwd: "/tmp" },
          stdin: false,
        },
        headers: { "connect-timeout-ms": "5000", authorization: `Basic ${base64("root:")}` },
      });
    });

    it("streams events when asked for them", async () => {
      const test = await open();
      const { key, path } = await running(test);
      test.world.agent = async () =>
        connectStream([START, { event: { data: { stdout: base64("a\nb") } } }, DONE, {}]);

      const { headers, text } = await test.call("POST", `${path}/exec`, {
        key,
        json: { args: ["/bin/echo"] },
        headers: { accept: "text/event-stream" },
      });

      expect(headers.get("content-type")).toContain("text/event-stream");
      expect(text.replaceAll("\r", "").trim().split("\n\n")).toEqual([
        'event: start\ndata: {"pid":7}',
        'event: stdout\ndata: {"text":"a\\nb"}',
        'event: exit\ndata: {"exitCode":0,"signal":null}',
      ]);
    });

    it("sends standard input and closes it", async () => {
      const test = await open();
      const { key, path } = await running(test);
      const sent: unknown[] = [];
      test.world.agent = async (_sandbox, route, init) => {
        if (route.endsWith("/Start")) return connectStream([START, DONE, {}]);
        sent.push([route, JSON.parse(String(init.body))]);
        return Response.json({});
      };

      await test.call("POST", `${path}/exec`, { key, json: { command: "cat", stdin: "hi" } });
      await test.world.idle();

      const process = { pid: 7 };
      expect(sent).toEqual([
        ["/process.Process/SendInput", { process, input: { stdin: base64("hi") } }],
        ["/process.Process/CloseStdin", { process }],
      ]);
    });

    it.each([
      ["an unknown user", { code: "unauthenticated", message: "invalid username: 'x'" }, 400],
      ["a time limit", { code: "deadline_exceeded" }, 504],
      ["a full process table", { code: "resource_exhausted", message: "no more" }, 429],
      ["a failing agent", { code: "internal", message: "oh" }, 502],
    ])("tells of %s", async (_what, error, status) => {
      const test = await open();
      const { key, path } = await running(test);
      test.world.agent = async () => connectStream([{ error }]);

      const { json } = await test.call("POST", `${path}/exec`, { key, json: { command: "x" } });

      expect(json.status).toBe(status);
      if ("message" in error) expect(json.detail).toContain(error.message);
    });

    it("never takes a cut stream for an end", async () => {
      const test = await open();
      const { key, path } = await running(test);
      test.world.agent = async () => connectStream([START]);
      const asked = { key, json: { command: "x" } };

      const whole = await test.call("POST", `${path}/exec`, asked);
      const stream = await test.call("POST", `${path}/exec`, {
        ...asked,
        headers: { accept: "text/event-stream" },
      });

      expect(whole.json).toMatchObject({ code: "provider_error", retryable: false });
      expect(stream.text).toContain("event: error");
    });

    it.each([
      ["neither command nor args", {}],
      ["both", { command: "a", args: ["b"] }],
      ["no args", { args: [] }],
      ["NUL", { command: "a\0b" }],
      ["a timeout of 0", { command: "a", timeoutMs: 0 }],
    ])("refuses %s", async (_what, json) => {
      const test = await open();
      const { key, path } = await running(test);

      expect((await test.call("POST", `${path}/exec`, { key, json })).json.code).toBe(
        "invalid_request",
      );
    });

    it("says what state is in the way", async () => {
      const test = await open();
      const { key, path } = await running(test);
      const asked = { key, json: { command: "x" } };

      await test.call("POST", `${path}/pause`, { key });
      const paused = await test.call("POST", `${path}/exec`, asked);
      await test.call("DELETE", `${path}?wait=10`, { key });
      const ended = await test.call("POST", `${path}/exec`, asked);

      expect(paused.json).toMatchObject({ code: "state_conflict", details: { state: "paused" } });
      expect(ended.json.code).toBe("sandbox_ended");
    });

    it("says when the agent doesn't answer", async () => {
      const test = await open();
      const { key, path } = await running(test);
      test.world.agent = async () => {
        throw new TypeError("fetch failed: 10.0.0.3");
      };

      const { json, text } = await test.call("POST", `${path}/exec`, {
        key,
        json: { command: "x" },
      });

      expect(json.code).toBe("provider_unavailable");
      expect(text).not.toContain("10.0.0.3");
    });
  });

  describe("files", () => {
    it("streams a file up and down, with its range", async () => {
      const test = await open();
      const { key, path } = await running(test);
      let held = Buffer.alloc(0);
      test.world.agent = async (_sandbox, route, init) => {
        expect(route).toBe("/files?path=%2Ftmp%2Fa+b&username=root");
        if (init.method !== "POST") {
          expect(new Headers(init.headers).get("range")).toBe("bytes=0-9");
          const headers = { "content-type": "text/plain", "set-cookie": "a=b" };
          return new Response(held, { status: 206, headers });
        }
        held = Buffer.from(await new Response(init.body).arrayBuffer());
        return Response.json([{ name: "a b", path: "/tmp/a b", type: "file" }]);
      };
      const url = `${path}/files?path=%2Ftmp%2Fa%20b&user=root`;
      const body = new Uint8Array(3_000_000).fill(7);

      const up = await test.call("PUT", url, { key, body });
      const down = await test.call("GET", url, { key, headers: { range: "bytes=0-9" } });

      expect(up.json).toEqual({ name: "a b", path: "/tmp/a b", type: "file" });
      expect(held.length).toBe(3_000_000);
      expect(down.status).toBe(206);
      expect(down.headers.get("content-type")).toBe("text/plain");
      expect(down.headers.get("set-cookie")).toBeNull();
      expect(down.text).toHaveLength(3_000_000);
    });

    it.each([
      [400, "invalid_request"],
      [404, "not_found"],
      [507, "quota_exceeded"],
      [401, "provider_error"],
      [500, "provider_error"],
    ])("turns the agent's %i into %s", async (status, code) => {
      const test = await open();
      const { key, path } = await running(test);
      test.world.agent = async () =>
        Response.json({ code: status, message: "path '/x' is odd" }, { status });

      const { json } = await test.call("GET", `${path}/files?path=/x`, { key });

      expect(json.code).toBe(code);
      expect(json.detail).toContain("path '/x' is odd");
    });

    it.each(["", "?path=", "?path=a%00b", `?path=${"a".repeat(4097)}`, "?path=a&mode=x"])(
      "refuses the query %s",
      async (query) => {
        const test = await open();
        const { key, path } = await running(test);

        const { json } = await test.call("GET", `${path}/files${query}`, { key });

        expect(json.code).toBe("invalid_request");
      },
    );
  });
}
