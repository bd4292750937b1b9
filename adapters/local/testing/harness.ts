import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  epochMs,
  type InstanceRef,
  type LaunchId,
  type LaunchRequest,
  launchIdOf,
  type Observation,
  type Provider,
  type ProviderFault,
  type Resources,
  type SandboxId,
  type Template,
} from "@soulbox/core";
import { type LocalOptions, local } from "../index.ts";
import { type LocalProbe, probeLocal } from "../probe.ts";

/** The process that stands in for the agent. */
export const AGENT_PATH = fileURLToPath(new URL("./agent.mjs", import.meta.url));

/** Small, so that limits are met soon. */
export const SMALL: Resources = { cpuMilli: 1000, memoryMib: 256, diskMib: 64 };

export const BASE: Template = {
  id: "base",
  names: ["base"],
  folder: "",
  args: {},
  resources: SMALL,
};

const CALL_MS_MAX = 30_000;

/** What a command in a sandbox left behind. */
export interface Outcome {
  readonly code: number | null;
  readonly output: string;
}

/** A data directory with a provider on it. */
export interface Bench {
  readonly dataDir: string;
  readonly probe: LocalProbe;
  readonly provider: Provider;
  /** Another provider on the same directory: another stage, or a server started again. */
  reopen(overrides?: Partial<LocalOptions>): Provider;
  /** Launches a sandbox, and waits until its agent answers. */
  launch(overrides?: Partial<LaunchRequest>): Promise<Observation>;
  /** Ends all launches and removes the directory. */
  close(): Promise<void>;
}

/** Opens a provider on a directory of its own. */
export function openBench(overrides: Partial<LocalOptions> = {}): Bench {
  const dataDir = mkdtempSync(join(tmpdir(), "soulbox-local-"));
  const probe = overrides.probe ?? probeLocal();
  const options = { stage: "one", agentPath: AGENT_PATH, dataDir, log: () => {}, ...overrides };
  const provider = local({ ...options, probe });
  const launched: LaunchId[] = [];
  return {
    dataDir,
    probe,
    provider,
    reopen: (more = {}) => local({ ...options, probe, ...more }),
    async launch(more = {}) {
      const asked = { ...requestOf(aLaunchId()), ...more };
      launched.push(asked.launchId);
      const seen = await provider.launch(asked, signal());
      await answers(seen);
      return seen;
    },
    async close() {
      for (const launchId of launched) await provider.terminate(refOf(launchId), signal());
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
}

/** An id that nothing else has. */
export function aLaunchId(): LaunchId {
  return launchIdOf(`l${randomBytes(12).toString("hex")}` as SandboxId, 1);
}

export function refOf(launchId: LaunchId): InstanceRef {
  return { region: "local", launchId, nativeId: undefined };
}

export function signal(): AbortSignal {
  return AbortSignal.timeout(CALL_MS_MAX);
}

export function requestOf(launchId: LaunchId): LaunchRequest {
  return {
    launchId,
    region: "local",
    template: BASE,
    resources: SMALL,
    network: {
      internet: undefined,
      publicTraffic: true,
      maskRequestHost: undefined,
      bandwidthKbit: undefined,
    },
    agentEnv: {},
    labels: { "soulbox.stage": "one", "soulbox.launch": launchId },
    terminateByMs: epochMs(0),
  };
}

/** Asks what listens at an observation's address; the body, or `undefined` within a second. */
export function ask(seen: Observation, path: string, body = ""): Promise<string | undefined> {
  const socketPath = (seen.agentAddress ?? "").replace(/^unix:/, "");
  const timeout = path === "/run" ? CALL_MS_MAX : 1000;
  return new Promise((resolve) => {
    const asked = request({ socketPath, path, method: "POST", timeout }, (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => {
        text += chunk;
      });
      response.on("end", () => resolve(text));
      response.on("error", () => resolve(undefined));
    });
    asked.on("timeout", () => asked.destroy());
    asked.on("error", () => resolve(undefined));
    asked.end(body);
  });
}

/** Runs a shell command inside, as `user` unless it is to be root. */
export async function run(
  seen: Observation,
  command: string,
  user: "user" | "root" = "user",
): Promise<Outcome> {
  const argv = ["/bin/sh", "-c", command];
  const text = await ask(seen, "/run", JSON.stringify({ argv, user }));
  if (text === undefined) throw new Error(`The agent gave no answer to: ${command}`);
  return JSON.parse(text) as Outcome;
}

/** Waits until the agent answers. */
export async function answers(seen: Observation): Promise<void> {
  await until(async () => (await ask(seen, "/health")) !== undefined, "the agent answers");
}

/** Asks again and again until the answer is yes. */
export async function until(check: () => Promise<boolean>, claim: string): Promise<void> {
  const deadline = performance.now() + CALL_MS_MAX;
  while (!(await check())) {
    if (performance.now() > deadline) throw new Error(`Not within ${CALL_MS_MAX} ms: ${claim}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/**
 * What is on this machine of a bench's launches: directories, mounts, groups, processes.
 *
 * @param prefix How the launch ids in question begin: groups don't tell whose they are.
 */
export function leftoversOf({ dataDir, probe }: Bench, prefix: string): readonly string[] {
  const mounts = readFileSync("/proc/self/mounts", "utf8").split("\n");
  const at = join(dataDir, "local", prefix);
  const dirs = readdirSync(join(dataDir, "local")).filter(
    (name) => name.startsWith(prefix) || name.startsWith(".draft"),
  );
  const groups = [...new Set(Object.values(probe.cgroups.parents))].flatMap((parent) =>
    readdirSync(parent).filter((name) => name.startsWith(`soulbox-${prefix}`)),
  );
  const processes = readdirSync("/proc").filter(
    (pid) => /^\d+$/.test(pid) && commandOf(pid).includes(at),
  );
  return [...dirs, ...mounts.filter((line) => line.includes(at)), ...groups, ...processes];
}

function commandOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8");
  } catch {
    return "";
  }
}

/** The faults that this adapter can be made to run into. */
export function provocations(bench: Bench): Partial<Record<ProviderFault, () => Promise<unknown>>> {
  const { provider, reopen } = bench;
  const faults: Partial<Record<ProviderFault, () => Promise<unknown>>> = {
    invalid: () => provider.launch({ ...requestOf(aLaunchId()), region: "elsewhere" }, signal()),
    timeout: () => provider.list("local", undefined, AbortSignal.abort()),
    unavailable: () =>
      reopen({ agentPath: "/nonexistent/agent" }).launch(requestOf(aLaunchId()), signal()),
    not_found: () =>
      provider.suspend?.pause(refOf(aLaunchId()), signal()) ?? Promise.reject(new Error("none")),
  };
  if (provider.suspend === undefined) delete faults.not_found;
  if (bench.probe.identity === "root") {
    faults.capacity = () => onFullDisk((dataDir) => reopen({ dataDir }));
  }
  return faults;
}

/** Launches with a data directory that has no room left. */
async function onFullDisk(open: (dataDir: string) => Provider): Promise<unknown> {
  const dataDir = mkdtempSync(join(tmpdir(), "soulbox-full-"));
  execFileSync("mount", ["-t", "tmpfs", "-o", "size=512k", "full", dataDir]);
  try {
    const provider = open(dataDir);
    execFileSync("sh", ["-c", 'head -c 1M /dev/zero >"$1/filler" 2>/dev/null || :', "sh", dataDir]);
    return await provider.launch(requestOf(aLaunchId()), signal());
  } finally {
    execFileSync("umount", ["-l", dataDir]);
    rmSync(dataDir, { recursive: true });
  }
}
