import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { closeSync, openSync, readFileSync } from "node:fs";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { installPackages, isRootOnDebian, run } from "../adapters/docker/debian.ts";
import {
  addBridge,
  answers,
  isInOurNetwork,
  mountCgroups,
  type Process,
  processesNamed,
  processStart,
  removeLink,
  sendSignal,
  unmountUnder,
} from "./engine-host.ts";

/** A container engine that answers. */
export interface Engine {
  /** Its unix socket. */
  readonly socketPath: string;
  /** Ends the engine when it was started here; leaves any other alone. May be called again. */
  stop(): Promise<void>;
}

const DEFAULT_SOCKET = "/var/run/docker.sock";
const DEFAULT_DIR = resolve(import.meta.dirname, "../.soulbox/engine");

/** Longest time from start to first answer, milliseconds: a first start makes its data root. */
const START_MS = 60_000;

/** Time to end containers and itself after SIGTERM, milliseconds. The engine's own limit is 10 s. */
const STOP_MS = 20_000;

/**
 * An engine for tests: the one at `DOCKER_HOST` or the default socket when it answers, else one
 * of our own, which is installed with apt on Debian and Ubuntu when this process is root.
 *
 * @param log Gets short lines for people.
 * @param dir Home of our own engine; its images stay there between runs. Default
 *   `.soulbox/engine` in the repository.
 * @throws Error that says what to install when there is no engine and none can be had.
 */
export async function ensureEngine(
  log: (line: string) => void,
  dir: string = DEFAULT_DIR,
): Promise<Engine> {
  const host = process.env.DOCKER_HOST;
  const sockets = host?.startsWith("unix://") ? [host.slice("unix://".length)] : [];
  for (const socketPath of [...sockets, DEFAULT_SOCKET]) {
    if (await answers(socketPath)) return { socketPath, stop: async () => {} };
    log(`no engine answers at ${socketPath}`);
  }
  if (!isRootOnDebian()) {
    throw new Error(
      "No container engine answers. Install Docker (docker.io on Debian and Ubuntu) or Podman, " +
        "start it, and point DOCKER_HOST to its socket (unix:///…) unless it is " +
        `${DEFAULT_SOCKET}; or run as root on Debian or Ubuntu, where one is installed for you.`,
    );
  }
  return startEngine(log, dir);
}

/**
 * Starts an engine of our own, whatever else runs; takes over what an earlier process of ours
 * left in `dir`, and shares the one that a living process has there.
 *
 * @throws Error with the engine's last lines when it does not come up within a minute.
 */
export async function startEngine(log: (line: string) => void, dir: string): Promise<Engine> {
  const home = layOut(dir);
  await mkdir(home.dataRoot, { recursive: true });
  await mkdir(home.execRoot, { recursive: true });
  if (!(await claim(home))) {
    log("sharing the engine of another test run");
    await untilAnswer(home, undefined);
    return { socketPath: home.socketPath, stop: async () => {} };
  }
  await endLeftovers(home);
  await installEngine(log);
  await mountCgroups();

  const isAlone = !processesNamed("dockerd").some(isInOurNetwork);
  const network = isAlone ? [] : await addBridge(home.bridge);
  const output = openSync(home.logPath, "w");
  const child = spawn("dockerd", [...engineArguments(home), ...network], {
    stdio: ["ignore", output, output],
    detached: true,
    env: { ...process.env, PATH: `${process.env.PATH ?? ""}:/usr/local/sbin:/usr/sbin:/sbin` },
  });
  closeSync(output);
  const stop = async () => {
    await endEngine(home, child);
    if (!isAlone) await removeLink(home.bridge);
    else if (!processesNamed("dockerd").some(isInOurNetwork)) await removeLink("docker0");
    await rm(home.ownerPath, { force: true });
  };
  try {
    await untilAnswer(home, child);
  } catch (error) {
    await stop();
    throw error;
  }
  log(`started an engine in ${dir}`);
  return { socketPath: home.socketPath, stop };
}

interface Home {
  readonly dataRoot: string;
  readonly execRoot: string;
  readonly socketPath: string;
  readonly pidPath: string;
  readonly logPath: string;
  readonly ownerPath: string;
  readonly bridge: string;
  readonly key: string;
}

function layOut(dir: string): Home {
  const key = createHash("sha256").update(resolve(dir)).digest("hex").slice(0, 8);
  // Paths of unix sockets end at 107 bytes, and the engine puts its own below this folder.
  const near = join(resolve(dir), "run");
  const execRoot = near.length <= 70 ? near : `/run/soulbox-engine-${key}`;
  return {
    dataRoot: join(resolve(dir), "data"),
    execRoot,
    socketPath: join(execRoot, "docker.sock"),
    pidPath: join(execRoot, "docker.pid"),
    logPath: join(resolve(dir), "dockerd.log"),
    ownerPath: join(resolve(dir), "owner"),
    bridge: `soulbox${key}`,
    key,
  };
}

function engineArguments(home: Home): string[] {
  return [
    `--data-root=${home.dataRoot}`,
    `--exec-root=${home.execRoot}`,
    `--pidfile=${home.pidPath}`,
    `--host=unix://${home.socketPath}`,
    // Where a containerd runs already, dockerd uses it: apart from whoever else does.
    `--containerd-namespace=soulbox-${home.key}`,
    `--containerd-plugins-namespace=soulbox-plugins-${home.key}`,
    "--shutdown-timeout=10",
    "--config-file=/dev/null",
  ];
}

/** Writes this process down as the owner, unless a living one has it. */
async function claim({ ownerPath }: Home): Promise<boolean> {
  const mine = `${process.pid} ${processStart(process.pid)}`;
  for (;;) {
    try {
      await writeFile(ownerPath, mine, { flag: "wx" });
      return true;
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "EEXIST")) throw error;
    }
    const [pid, start] = readFileSync(ownerPath, "utf8").split(" ");
    if (start !== undefined && processStart(Number(pid)) === start) return false;
    await rm(ownerPath, { force: true });
  }
}

/** The daemon, its containerd and their shims, which name our folder, and what shims hold. */
function processesOf({ execRoot }: Home): Process[] {
  const own = ["dockerd", "containerd"]
    .flatMap(processesNamed)
    .filter(({ commandLine }) => commandLine.includes(execRoot));
  return [
    ...own,
    ...own.flatMap(({ pid }) => processesNamed("").filter((each) => each.parentPid === pid)),
  ];
}

async function endLeftovers(home: Home): Promise<void> {
  const daemon = processesOf(home).find(({ commandLine }) => commandLine.includes(home.pidPath));
  await endEngine(home, daemon);
}

/** Ends the daemon, then whatever of it is left: processes, mounts, socket and pid file. */
async function endEngine(home: Home, daemon: ChildProcess | Process | undefined): Promise<void> {
  const pid = daemon?.pid;
  if (pid !== undefined) {
    const start = processStart(pid);
    sendSignal(pid, "SIGTERM");
    const untilMs = performance.now() + STOP_MS;
    while (start !== undefined && processStart(pid) === start && performance.now() < untilMs) {
      await delay(50);
    }
  }
  for (const left of processesOf(home)) sendSignal(left.pid, "SIGKILL");
  while (processesOf(home).length > 0) await delay(20);
  await unmountUnder([home.dataRoot, home.execRoot]);
  await rm(home.socketPath, { force: true });
  await rm(home.pidPath, { force: true });
}

async function untilAnswer(home: Home, child: ChildProcess | undefined): Promise<void> {
  let spawnError: Error | undefined;
  child?.once("error", (error) => {
    spawnError = error;
  });
  const untilMs = performance.now() + START_MS;
  while (performance.now() < untilMs) {
    if (await answers(home.socketPath)) return;
    if (spawnError !== undefined) throw spawnError;
    if (child !== undefined && (child.exitCode !== null || child.signalCode !== null)) break;
    await delay(50);
  }
  const tail = readFileSync(home.logPath, "utf8").trim().split("\n").slice(-5).join("\n");
  throw new Error(`the engine did not start; its last lines (${home.logPath}):\n${tail}`);
}

const POLICY_PATH = "/usr/sbin/policy-rc.d";

/** Installs what is missing, without letting the package start an engine of its own. */
async function installEngine(log: (line: string) => void): Promise<void> {
  const commands = { dockerd: "docker.io", iptables: "iptables", ip: "iproute2" };
  const missing: string[] = [];
  for (const [command, name] of Object.entries(commands)) {
    const found = run("sh", ["-c", `PATH="$PATH:/usr/sbin:/sbin" command -v ${command}`]);
    if (!(await found.then(Boolean, () => false))) missing.push(name);
  }
  if (missing.length === 0) return;
  const ours = await writeFile(POLICY_PATH, "#!/bin/sh\nexit 101\n", { mode: 0o755, flag: "wx" })
    .then(() => true)
    .catch(() => false);
  try {
    await installPackages(missing, log);
  } finally {
    if (ours) await rm(POLICY_PATH, { force: true });
  }
}
