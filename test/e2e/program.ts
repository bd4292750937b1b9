import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as delay, setImmediate as turn } from "node:timers/promises";
import Dockerode from "dockerode";

const REPOSITORY = resolve(import.meta.dirname, "../..");
/** A start on a busy machine whose images are built. */
const START_MS_MAX = 120_000;
/** A stop, or a refusal to start, is promised within 15 s. */
export const STOP_MS_MAX = 15_000;

/** What a fork bomb's container may take to be removed. */
const REMOVE_MS_MAX = 120_000;

/** How a program is started. Settings go by environment, as a user gives them. */
export interface ProgramOptions {
  readonly dataDir: string;
  readonly port: number;
  readonly providers: string;
  /** More environment; it wins. */
  readonly env?: Readonly<Record<string, string>>;
  /** Where `soulbox.toml` is looked for. Default: the data directory's parent. */
  readonly cwd?: string;
}

/** How a process ended: its exit code, or the signal. */
export type Exit = number | NodeJS.Signals;

/** A started program, ready or not. */
export interface Program {
  readonly pid: number;
  readonly url: string;
  /** Everything that it has printed, on both streams. */
  output(): string;
  /** Settles at its end. */
  readonly exited: Promise<Exit>;
  /** Sends a signal and waits for the end, `limitMs` at most. @throws Error when it lives on. */
  kill(signal: NodeJS.Signals, limitMs?: number): Promise<Exit>;
}

/** Starts `functions/local.ts` and doesn't wait for anything. */
export function startProgram(options: ProgramOptions): Program {
  const { dataDir, port, providers, env, cwd = resolve(dataDir, "..") } = options;
  const child = spawn(process.execPath, [join(REPOSITORY, "functions/local.ts")], {
    cwd,
    env: {
      ...process.env,
      SOULBOX_PORT: String(port),
      SOULBOX_DATA_DIR: dataDir,
      SOULBOX_PROVIDERS: providers,
      ...env,
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let printed = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      printed += text;
    });
  }
  const exited = endOf(child);
  const url = `http://127.0.0.1:${port}`;
  return {
    pid: child.pid ?? 0,
    url,
    output: () => printed,
    exited,
    async kill(signal, limitMs = STOP_MS_MAX) {
      child.kill(signal);
      return within(limitMs, exited, () => `${signal} doesn't end the program:\n${printed}`);
    },
  };
}

/** Waits until the program has printed a line that matches; answers with the match. */
export function printed(program: Program, pattern: RegExp): Promise<RegExpExecArray> {
  return poll(`${pattern} in what the program prints`, START_MS_MAX, async () => {
    const match = pattern.exec(program.output());
    if (match === null && (await hasEnded(program))) {
      throw new Error(`The program ended:\n${program.output()}`);
    }
    return match ?? undefined;
  });
}

/** Starts the program and waits until it says that it is ready. */
export async function startReady(options: ProgramOptions): Promise<Program> {
  const program = startProgram(options);
  await printed(program, /^SoulBox is ready on \S+$/m);
  await printed(program, /^E2B_SANDBOX_URL=\S+$/m);
  return program;
}

/** Starts the program and waits until it answers, before it has proven that sandboxes work. */
export async function startServing(options: ProgramOptions): Promise<Program> {
  const program = startProgram(options);
  await poll("the program to answer", START_MS_MAX, async () => {
    if (await hasEnded(program)) throw new Error(`The program ended:\n${program.output()}`);
    const health = await fetch(`${program.url}/health`).catch(() => undefined);
    await health?.body?.cancel();
    return health?.ok ? true : undefined;
  });
  return program;
}

/** Starts a program that must refuse to run; answers with its exit code and its words. */
export async function startRefused(
  options: ProgramOptions,
): Promise<{ readonly exit: Exit; readonly output: string }> {
  const program = startProgram(options);
  try {
    const words = () => `The program runs on:\n${program.output()}`;
    const exit = await within(START_MS_MAX, program.exited, words);
    return { exit, output: program.output() };
  } finally {
    await program.kill("SIGKILL");
  }
}

/** A directory for data directories, on which nothing else depends. */
export function temporaryDir(): Promise<string> {
  return mkdtemp(join(tmpdir(), "soulbox-e2e-"));
}

/** What `secrets.json` of a data directory says of its server. */
export function secretsOf(dataDir: string): { readonly stage: string; readonly apiKey: string } {
  return JSON.parse(readFileSync(join(dataDir, "secrets.json"), "utf8"));
}

const engine = new Dockerode();

/** A container of a stage. */
export interface StageContainer {
  readonly id: string;
  readonly sandboxId: string | undefined;
  readonly launchId: string | undefined;
}

/** The containers that carry the stage of a data directory, stopped ones included. */
export async function containersOf(dataDir: string): Promise<readonly StageContainer[]> {
  const label = `soulbox.stage=${secretsOf(dataDir).stage}`;
  const found = await engine.listContainers({ all: true, filters: { label: [label] } });
  return found.map(({ Id, Labels }) => ({
    id: Id,
    sandboxId: Labels["soulbox.sandbox"],
    launchId: Labels["soulbox.launch"],
  }));
}

/** Ends a program at once, with all that it may have left. */
export async function cleanUp(program: Program | undefined, dataDir: string): Promise<void> {
  await program?.kill("SIGKILL");
  // The engine gives up on a container whose thousands of processes need long to die.
  await poll("the containers to go", REMOVE_MS_MAX, async () => {
    const left = await containersOf(dataDir).catch(() => []);
    await Promise.all(
      left.map(({ id }) => engine.getContainer(id).remove({ force: true }).catch(ignore)),
    );
    return left.length === 0 ? true : undefined;
  });
  await rm(dataDir, { recursive: true, force: true });
}

/** A port of the loopback that nothing listens on. */
export async function freePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const address = probe.address();
  probe.close();
  await once(probe, "close");
  if (address === null || typeof address === "string") throw new Error("No port could be had.");
  return address.port;
}

/**
 * Asks until there is an answer other than `undefined`.
 *
 * @throws Error naming what was waited for, after `limitMs`.
 */
export async function poll<Answer>(
  what: string,
  limitMs: number,
  ask: () => Promise<Answer | undefined>,
): Promise<Answer> {
  const untilMs = performance.now() + limitMs;
  while (true) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    if (performance.now() > untilMs) throw new Error(`Waited ${limitMs} ms for ${what}.`);
    await delay(100);
  }
}

/** Runs another script of the repository to its end. */
export async function runScript(
  file: string,
  args: readonly string[],
): Promise<{ readonly exit: Exit; readonly output: string }> {
  const child = spawn(process.execPath, [join(REPOSITORY, file), ...args], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
  }
  return { exit: await endOf(child), output };
}

async function hasEnded(program: Program): Promise<boolean> {
  return Promise.race([program.exited.then(() => true), turn(false)]);
}

/** The end of a process with all its output read. */
function endOf(child: ChildProcess): Promise<Exit> {
  return new Promise((resolve) => {
    child.once("close", (code, signal) => resolve(signal ?? code ?? -1));
  });
}

async function within<T>(ms: number, work: Promise<T>, explain: () => string): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error(explain())), ms);
  try {
    return await Promise.race([work, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

function ignore(): void {}
