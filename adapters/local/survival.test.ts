import { spawn } from "node:child_process";
import { on, once } from "node:events";
import { existsSync } from "node:fs";
import { cp, mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import type { LaunchId, Observation, Provider } from "@soulbox/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  aLaunchId,
  answers,
  ask,
  type Bench,
  leftoversOf,
  openBench,
  refOf,
  requestOf,
  run,
  signal,
} from "./testing/harness.ts";

const LAUNCHER = fileURLToPath(new URL("./testing/launcher.ts", import.meta.url));

describe("local state on disk", { timeout: 60_000 }, () => {
  let bench: Bench;

  beforeAll(() => {
    bench = openBench();
  });

  afterAll(async () => {
    await bench.close();
  });

  const dirOf = (launchId: LaunchId) => join(bench.dataDir, "local", launchId);
  const phases = async (provider: Provider): Promise<ReadonlyMap<string, Observation>> => {
    const { items } = await provider.list("local", undefined, signal());
    return new Map(items.map((seen) => [seen.launchId, seen]));
  };
  /** Plays a server that is started again. */
  const restarted = (lines: string[] = []) => bench.reopen({ log: (line) => lines.push(line) });

  it("lets a sandbox outlive the server that launched it, to be adopted by the next", async () => {
    const launchId = aLaunchId();
    const server = spawn(process.execPath, [LAUNCHER, bench.dataDir, launchId], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const ended = once(server, "exit");
    await Promise.race([until(server.stdout, "launched"), ended]);
    server.kill("SIGKILL");
    await ended;

    const next = restarted();
    const seen = (await phases(next)).get(launchId);
    if (seen === undefined) return expect.unreachable("it isn't listed");
    await answers(seen);

    expect(seen.phase).toBe("running");
    expect((await run(seen, "echo alive")).output).toBe("alive\n");
    await next.terminate(refOf(launchId), signal());
    expect(leftoversOf(bench, launchId)).toEqual([]);
  });

  it("loses and leaves nothing when servers are killed in the middle of launches", async () => {
    for (let round = 0; round < ROUNDS; round += 1) {
      const ids = [aLaunchId(), aLaunchId(), aLaunchId()];
      const server = spawn(process.execPath, [LAUNCHER, bench.dataDir, ...ids], {
        stdio: ["ignore", "pipe", "inherit"],
      });
      const ended = once(server, "exit");
      let said = "";
      server.stdout.on("data", (text) => {
        said += text;
      });
      await Promise.race([until(server.stdout, "open"), ended]);
      // Spread over what a launch does: from its first file to the agent's start.
      await new Promise((resolve) => setTimeout(resolve, (120 * round) / ROUNDS));
      server.kill("SIGKILL");
      await ended;

      const next = restarted();
      const found = await phases(next);
      const acknowledged = ids.slice(0, said.split("launched").length - 1);
      for (const launchId of acknowledged) expect(found.get(launchId)?.phase).toBe("running");
      for (const launchId of ids) await next.terminate(refOf(launchId), signal());
      for (const launchId of ids) expect(leftoversOf(bench, launchId)).toEqual([]);
    }
  });

  it("removes at the next start what has ended in between", async () => {
    const seen = await bench.launch();
    await killInside(seen);
    const lines: string[] = [];

    const found = await phases(restarted(lines));

    expect(found.has(seen.launchId)).toBe(false);
    expect(lines).toEqual([expect.stringContaining(seen.launchId)]);
    expect(leftoversOf(bench, seen.launchId)).toEqual([]);
  });

  it("leaves to another stage what is the other stage's", async () => {
    const seen = await bench.launch();
    await killInside(seen);

    await phases(bench.reopen({ stage: "two" }));

    expect(existsSync(dirOf(seen.launchId))).toBe(true);
  });

  it("never takes a stranger with the same pid for its own", async () => {
    const seen = await bench.launch();
    const path = join(dirOf(seen.launchId), "init");
    const own = await readFile(path, "utf8");
    const [, , ...fields] = own.split(" ");
    // This very process, as if the pid had been given to it after the sandbox's end.
    const stranger = `${process.pid} (sh) ${fields.join(" ")}`;
    await writeFile(path, stranger);

    const found = await bench.provider.inspect(refOf(seen.launchId), signal());
    await bench.provider.terminate(refOf(seen.launchId), signal());

    expect(found.phase).toBe("gone");
    expect(await ask(seen, "/health")).toBeUndefined();
  });

  it("takes nothing for alive that was launched before the machine's restart", async () => {
    const seen = await bench.launch();
    const path = join(dirOf(seen.launchId), "launch.json");
    const record = JSON.parse(await readFile(path, "utf8"));
    await writeFile(path, JSON.stringify({ ...record, bootId: "another" }));

    const found = await bench.provider.inspect(refOf(seen.launchId), signal());
    await writeFile(path, JSON.stringify(record));

    expect(found.phase).toBe("gone");
  });

  it("removes a launch that a crash left before its process began", async () => {
    const seen = await bench.launch();
    const half = aLaunchId();
    await mkdir(join(dirOf(half), "run"), { recursive: true });
    await cp(join(dirOf(seen.launchId), "launch.json"), join(dirOf(half), "launch.json"));

    const found = await phases(restarted());

    expect(found.has(half)).toBe(false);
    expect(existsSync(dirOf(half))).toBe(false);
  });

  it("keeps a late process from starting what has been given up", async () => {
    const launchId = aLaunchId();
    await mkdir(dirOf(launchId), { recursive: true });
    await writeFile(join(dirOf(launchId), "claim"), "void");

    const script = fileURLToPath(new URL("./enter.sh", import.meta.url));
    const late = spawn("sh", [script, "outer", dirOf(launchId), "x", "0", "--", "true"]);
    const [code] = await once(late, "exit");
    await rm(dirOf(launchId), { recursive: true });

    expect(code).toBe(75);
  });

  it("shows a damaged record as gone, and removes it", async () => {
    const launchId = aLaunchId();
    await mkdir(dirOf(launchId), { recursive: true });
    await writeFile(join(dirOf(launchId), "launch.json"), '{"launchId": ');

    const found = await bench.provider.inspect(refOf(launchId), signal());
    await bench.provider.terminate(refOf(launchId), signal());

    expect(found).toMatchObject({ phase: "gone", agentAddress: undefined });
    expect(existsSync(dirOf(launchId))).toBe(false);
  });

  it("keeps what a sandbox does to its socket's directory small, and removes it", async () => {
    const seen = await bench.launch();
    const isWritable = async () => (await run(seen, "touch /.soulbox/run/x", "root")).code === 0;
    // Without a file system of its own it turns read-only, a moment after the agent is there.
    if (bench.probe.identity !== "root") await expect.poll(isWritable).toBe(false);
    const fill = "cd /.soulbox/run && mkdir -p a/b && ln -s / a/root; head -c 1M /dev/zero >fill";
    await run(seen, fill, "root");

    const size = await run(seen, "du -sk /.soulbox/run", "root");
    await bench.provider.terminate(refOf(seen.launchId), signal());

    expect(Number.parseInt(size.output, 10)).toBeLessThanOrEqual(64);
    expect(leftoversOf(bench, seen.launchId)).toEqual([]);
    expect(existsSync("/usr")).toBe(true);
  });

  it("keeps the socket's path short, however long the data directory's", async () => {
    const dataDir = join(bench.dataDir, "a".repeat(100));
    const far = bench.reopen({ dataDir });
    const launchId = aLaunchId();

    const seen = await far.launch(requestOf(launchId), signal());
    await answers(seen);
    await far.terminate(refOf(launchId), signal());

    const path = seen.agentAddress?.replace("unix:", "") ?? "";
    expect(Buffer.byteLength(path)).toBeLessThanOrEqual(107);
    expect(existsSync(join(path, ".."))).toBe(false);
    await rm(join(path, "../.."), { recursive: true, force: true });
  });

  it("throws what the start said when it fails, and leaves nothing", async () => {
    const launchId = aLaunchId();
    await bench.launch();
    const moved = join(bench.dataDir, "moved");
    const broken = bench.reopen({ agentPath: moved });
    await writeFile(moved, "#!/bin/sh\n", { mode: 0o755 });
    await broken.launch(requestOf(aLaunchId()), signal());
    await rename(moved, `${moved}.away`);

    const thrown = await broken.launch(requestOf(launchId), signal()).catch((error) => error);

    expect(String(thrown)).toMatch(/moved/);
    expect(broken.classify(thrown)).toBe("unavailable");
    expect(existsSync(dirOf(launchId))).toBe(false);
    await phases(restarted());
  });
});

/** How often a server is killed. */
const ROUNDS = 8;

/** Waits until a process has said a word. */
async function until(stream: Readable, word: string): Promise<void> {
  for await (const text of on(stream, "data")) if (String(text).includes(word)) return;
}

/** Ends a sandbox from inside, and waits for it. */
async function killInside(seen: Observation): Promise<void> {
  const [, pid] = /pid (\d+)/.exec(seen.detail) ?? [];
  process.kill(Number(pid), "SIGKILL");
  await expect.poll(() => existsSync(`/proc/${pid}/ns/pid`)).toBe(false);
}
