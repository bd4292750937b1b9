import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";

/** Providers that the suite can run against. */
export const PROVIDERS = ["docker", "local"] as const;
export type ProviderName = (typeof PROVIDERS)[number];

/** A running SoulBox, started for the tests alone. */
export interface Server {
  /** Origin of API and gateway, without a slash at its end. */
  readonly url: string;
  readonly apiKey: string;
  /** The last lines that it wrote, without its key. */
  logTail(): string;
  /**
   * Sends SIGTERM and waits for the end.
   *
   * @throws Error with the last log lines when it takes longer than promised or exits with a code.
   */
  stop(): Promise<void>;
}

/** The first start may build images. */
const START_MS_MAX = 10 * 60_000;

/** What `npm start` promises after SIGTERM, and a second for the process to be reaped. */
const STOP_MS_MAX = 16_000;

const LOG_LINES = 50;

const REPOSITORY = resolve(import.meta.dirname, "../..");

/** What the server prints when it is ready; scripts of its users depend on these lines too. */
const PRINTED = {
  url: /^SoulBox is ready on (http:\/\/127\.0\.0\.1:\d+)$/,
  apiKey: /^E2B_API_KEY=(e2b_[0-9a-f]{40})$/,
  apiUrl: /^E2B_API_URL=(\S+)$/,
  sandboxUrl: /^E2B_SANDBOX_URL=(\S+)$/,
} as const;
type Printed = { -readonly [name in keyof typeof PRINTED]?: string };

/** How the server under test is started. */
export interface ServerOptions {
  readonly provider: ProviderName;
  /** Any program that prints the same lines, relative to the repository. */
  readonly program?: string | undefined;
}

/** Starts `functions/local.ts` on a free port with an empty data directory of its own. */
export async function startServer(options: ServerOptions): Promise<Server> {
  const dataDir = await mkdtemp(join(tmpdir(), "soulbox-e2b-"));
  const child = spawn(process.execPath, [options.program ?? "functions/local.ts"], {
    cwd: REPOSITORY,
    env: {
      ...process.env,
      SOULBOX_PORT: String(await freePort()),
      SOULBOX_DATA_DIR: dataDir,
      SOULBOX_PROVIDERS: options.provider,
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const log: string[] = [];
  const exited = once(child, "exit").then(([code, signal]) => `${code ?? signal}`);

  try {
    const { url, apiKey } = await readAddresses(child, log, exited);
    return {
      url,
      apiKey,
      logTail: () => tail(log),
      stop: async () => {
        await end(child, exited, log);
        await rm(dataDir, { recursive: true, force: true });
      },
    };
  } catch (error) {
    await end(child, exited, log).catch(() => undefined);
    await rm(dataDir, { recursive: true, force: true });
    throw error;
  }
}

async function readAddresses(
  child: ChildProcess,
  log: string[],
  exited: Promise<string>,
): Promise<{ url: string; apiKey: string }> {
  const printed: Printed = {};
  const ready = Promise.withResolvers<{ url: string; apiKey: string }>();
  for (const stream of [child.stdout, child.stderr]) {
    if (stream === null) throw new Error("The server has no output to read.");
    createInterface({ input: stream }).on("line", (line) => {
      log.push(line);
      if (log.length > 1000) log.splice(0, log.length - LOG_LINES);
      for (const [name, pattern] of Object.entries(PRINTED)) {
        const value = pattern.exec(line)?.[1];
        if (value !== undefined) printed[name as keyof Printed] = value;
      }
      const { url, apiKey, apiUrl, sandboxUrl } = printed;
      if (url === undefined || apiKey === undefined) progress(line);
      else if (apiUrl === url && sandboxUrl === url) ready.resolve({ url, apiKey });
    });
  }
  exited.then((how) => ready.reject(new Error(`The server ended (${how}).${tail(log)}`)));
  return within(START_MS_MAX, ready.promise, () => `The server is not ready.${tail(log)}`);
}

async function end(child: ChildProcess, exited: Promise<string>, log: string[]): Promise<void> {
  child.kill("SIGTERM");
  try {
    const how = await within(STOP_MS_MAX, exited, () => `The server does not stop.${tail(log)}`);
    if (how !== "0") throw new Error(`The server stopped with ${how}.${tail(log)}`);
  } finally {
    child.kill("SIGKILL");
  }
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

/** Keys stay out of what a terminal or a build log keeps. */
function progress(line: string): void {
  if (!PRINTED.apiKey.test(line)) process.stderr.write(`${line}\n`);
}

function tail(log: readonly string[]): string {
  const lines = log.slice(-LOG_LINES).map((line) => line.replace(/e2b_[0-9a-f]{40}/g, "e2b_…"));
  return ` Its last ${lines.length} lines:\n${lines.join("\n")}`;
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const address = probe.address();
  probe.close();
  await once(probe, "close");
  if (address === null || typeof address === "string") throw new Error("No port could be had.");
  return address.port;
}
