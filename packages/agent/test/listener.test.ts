import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import http from "node:http";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { buildAgent } from "../build.ts";
import { canRun, until } from "./harness.ts";

describe.skipIf(!canRun)("listener", () => {
  let directory: string;
  let child: ChildProcess | undefined;
  beforeEach(async () => {
    directory = await mkdtemp(path.join(tmpdir(), "soulbox-agent-"));
  });
  afterEach(async () => {
    child?.kill("SIGKILL");
    await rm(directory, { recursive: true, force: true });
  });

  const start = async (listen: string) => {
    const executable = await buildAgent(path.join(tmpdir(), "soulbox-agent-build"));
    child = spawn(executable, [], {
      stdio: ["ignore", "ignore", "pipe"],
      env: {
        SOULBOX_LISTEN: listen,
        SOULBOX_LAUNCH_ID: "launch1-1",
        SOULBOX_INIT_KEY: Buffer.alloc(32).toString("base64url"),
      },
    });
    return child;
  };

  it("answers on a unix socket that anybody may open, replacing a stale one", async () => {
    const socketPath = path.join(directory, "agent.sock");
    await writeFile(socketPath, "stale");
    await start(`unix:${socketPath}`);
    await until(async () => (await stat(socketPath)).isSocket());
    await until(async () => ((await stat(socketPath)).mode & 0o777) === 0o666);
    const request = http.get({ socketPath, path: "/health" });
    const [response] = await once(request, "response");
    expect(response.statusCode).toBe(204);
  });

  it("says what is wrong with its settings and ends", async () => {
    const agent = await start("nowhere");
    const [told] = await once(agent.stderr ?? agent, "data");
    const [code] = await once(agent, "exit");
    expect(String(told)).toContain("SOULBOX_LISTEN");
    expect(code).toBe(1);
  });

  it("says which address it can't have and ends", async () => {
    const agent = await start("unix:/nowhere/agent.sock");
    const [told] = await once(agent.stderr ?? agent, "data");
    const [code] = await once(agent, "exit");
    expect(String(told)).toContain("/nowhere/agent.sock");
    expect(code).toBe(1);
  });
});

describe.skipIf(!canRun)("buildAgent", () => {
  it("returns one executable for builds at the same time, and the same one later", async () => {
    const directory = await mkdtemp(path.join(tmpdir(), "soulbox-agent-"));
    try {
      const [first, second] = await Promise.all([buildAgent(directory), buildAgent(directory)]);
      const built = await stat(first);
      expect(second).toBe(first);
      expect(built.mode & 0o777).toBe(0o755);
      expect(await buildAgent(directory)).toBe(first);
      expect((await stat(first)).mtimeMs).toBe(built.mtimeMs);
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  });
});
