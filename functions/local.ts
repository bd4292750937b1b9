/** The whole of SoulBox on one machine: `npm start`. */
import {
  ControlPlaneError,
  decide,
  isLive,
  type SandboxId,
  settleSandbox,
  type TenantId,
} from "@soulbox/core";
import type { Gateway } from "@soulbox/gateway";
import { type Composition, claimDataDir, compose } from "./compose.ts";
import { type Config, readConfig } from "./config.ts";
import { createLog } from "./log.ts";
import { proveItWorks } from "./proof.ts";
import { recover, type Schedules, startSchedules } from "./schedules.ts";
import { openSecrets, type Secrets, sha256 } from "./secrets.ts";
import { gatewayOf, liveSandboxes, type Running, serve } from "./server.ts";

/** A stop is promised within 15 s: connections get 2 of them, sandboxes 10. */
const GRACE_MS = 2000;
const TERMINATE_MS = 10_000;

const say = (line: string) => console.log(line);

async function main(): Promise<void> {
  const config = readConfig(process.env);
  const lock = claimDataDir(config.dataDir);
  const secrets = await openSecrets(config.dataDir);
  const log = createLog(config.log);
  let gateway: Gateway | undefined;
  const cut = (id: SandboxId) => gateway?.cut(id);
  const composition = await compose(config, secrets, log, cut);
  gateway = gatewayOf(composition, secrets);
  const { ports } = composition;
  for (const line of composition.announcements) say(line);
  await ensureFirstTenant(composition, config, secrets);
  const running = await serve(config, composition, secrets, gateway);

  const starting = new AbortController();
  let schedules: Schedules | undefined;
  let isStopping = false;
  const stop = async (signal: NodeJS.Signals): Promise<void> => {
    if (isStopping) return;
    isStopping = true;
    say(`${signal}: stopping …`);
    starting.abort(new Error("The server stops."));
    await schedules?.stop();
    await terminateAll(composition);
    await running.close(GRACE_MS);
    await composition.close();
    lock.release();
    process.exit(0);
  };
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => void stop(signal));

  try {
    await recover(ports, starting.signal);
    schedules = startSchedules(ports, composition.prune);
    await prepareAndProve(composition, secrets, running);
  } catch (error) {
    if (isStopping) return;
    say(`The proof sandbox failed: ${explain(error)}`);
    say("The server stays up: mend the reason, and create sandboxes again.");
  }
  if (isStopping) return;
  say(`SoulBox is ready on ${running.url}`);
  say(`E2B_API_KEY=${secrets.apiKey}`);
  say(`E2B_API_URL=${running.url}`);
  say(`E2B_SANDBOX_URL=${running.url}`);
}

async function prepareAndProve(
  composition: Composition,
  secrets: Secrets,
  running: Running,
): Promise<void> {
  const { ports } = composition;
  await composition.prepare(ports.templates.resolve("base"), say);
  const { output, elapsedMs, amountNanoUsd } = await proveItWorks(ports, secrets, running.url);
  const usd = (Number(amountNanoUsd) / 1e9).toFixed(9);
  say(
    `Proof: created a sandbox, ran a command (“${output}”) and ended it: ` +
      `${Math.round(elapsedMs)} ms to its output, $${usd}.`,
  );
}

/** The tenant and the key that the start prints; the same at every start. */
async function ensureFirstTenant(
  { keys, ports }: Composition,
  config: Config,
  secrets: Secrets,
): Promise<void> {
  const id = "default" as TenantId;
  const createdAtMs = ports.clock.now();
  if ((await keys.getTenant(id)) === undefined) {
    const sandboxCountMax = config.sandboxCountMax;
    await keys.addTenant({ id, name: "Default", sandboxCountMax, createdAtMs });
  }
  const hash = sha256(secrets.apiKey);
  if ((await keys.find(hash)) !== undefined) return;
  await keys.addKey({
    id: hash.slice(0, 12),
    hash,
    tenantId: id,
    name: "first",
    scopes: ["sandboxes", "billing", "keys", "operator"],
    createdAtMs,
    expiresAtMs: undefined,
  });
}

/** Ends every sandbox, so that none runs on without its server. */
async function terminateAll(composition: Composition): Promise<void> {
  const { ports } = composition;
  const signal = AbortSignal.timeout(TERMINATE_MS);
  const ids = await liveSandboxes(composition);
  await Promise.allSettled(
    ids.map(async (id) => {
      const row = await decide(ports, id, (now) =>
        isLive(now.state) ? { kind: "end", reason: "operator" } : undefined,
      );
      await settleSandbox(ports, row, signal);
    }),
  );
}

function explain(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if ("code" in error && error.code === "EADDRINUSE") {
    return `${error.message}. Another program has the port: stop it, or set SOULBOX_PORT to a free one.`;
  }
  if (!(error instanceof ControlPlaneError)) return error.stack ?? error.message;
  return error.hint === undefined ? error.detail : `${error.detail} ${error.hint}`;
}

main().catch((error: unknown) => {
  console.error(`SoulBox can't start. ${explain(error)}`);
  process.exit(1);
});
