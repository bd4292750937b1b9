import { existsSync } from "node:fs";
import { join } from "node:path";
import { createImages, docker } from "@soulbox/adapter-docker";
import { local, probeLocal } from "@soulbox/adapter-local";
import { memoryProvider, systemClock } from "@soulbox/adapter-memory";
import { type DataDirLock, lockDataDir, openSqlite, type Sqlite } from "@soulbox/adapter-sqlite";
import { buildAgent } from "@soulbox/agent/build.ts";
import {
  type Clock,
  ControlPlaneError,
  createMeter,
  type Keys,
  type Ports,
  type Provider,
  type SandboxId,
  type Store,
  type Template,
} from "@soulbox/core";
import Dockerode from "dockerode";
import { customAlphabet } from "nanoid";
import { resolveTemplate, TEMPLATES } from "../infra/images/catalogue.ts";
import { createAgents } from "./agents.ts";
import { type Config, type ConfiguredProvider, ROOT } from "./config.ts";
import { PRICES } from "./prices.ts";
import type { Secrets } from "./secrets.ts";

/** Everything that one process runs on, put together. */
export interface Composition {
  readonly ports: Ports;
  readonly keys: Keys;
  /** One line per provider: what it is and what isolation it gives. */
  readonly announcements: readonly string[];
  /** Makes the template launchable on the first provider, telling how far it is. */
  prepare(template: Template, tell: (line: string) => void): Promise<void>;
  /** Forgets idempotency records whose time is over, a bounded batch. */
  prune(): void;
  close(): Promise<void>;
}

/** A provider with what the program around it needs. */
interface Opened {
  readonly provider: Provider;
  readonly announcement: string;
  prepare?(template: Template, tell: (line: string) => void): Promise<void>;
  close?(): Promise<void>;
}

type Log = Ports["log"];

const AWAY: AbortSignal = new AbortController().signal;
/** Records that one batch forgets. */
const PRUNED_MAX = 1000;
/** How long an engine may take to say that it is there, milliseconds. */
const PING_MS = 3000;
/** 36^20 ids: 103 bits. */
const newIdBody = customAlphabet("0123456789abcdefghijklmnopqrstuvwxyz", 20);

/** Takes a data directory for this process. @throws already_exists when a server has it. */
export function claimDataDir(dataDir: string): DataDirLock {
  return lockDataDir(dataDir);
}

/** Opens what a data directory holds, to look at it only. @throws not_found when it holds nothing. */
export function openForReading(dataDir: string): Pick<Sqlite, "store" | "close"> {
  return openSqlite({ dataDir, readOnly: true });
}

/**
 * The only place where ports meet adapters.
 *
 * @param onUnroutable Told the id of every sandbox that stops being routable, once committed.
 */
export async function compose(
  config: Config,
  secrets: Secrets,
  log: Log,
  onUnroutable: (id: SandboxId) => void,
): Promise<Composition> {
  const clock: Clock = systemClock();
  const sqlite = openSqlite({ dataDir: config.dataDir });
  const agentPath = await buildAgent(config.cacheDir);
  const opened: Opened[] = [];
  for (const name of await chosenProviders(config)) {
    opened.push(await OPEN[name]({ config, secrets, log, agentPath, clock }));
  }
  const ports: Ports = {
    store: watched(sqlite.store, onUnroutable),
    clock,
    meter: createMeter(PRICES),
    providers: opened.map(({ provider }) => provider),
    agents: await createAgents(secrets, () => clock.now()),
    templates: { resolve: resolveTemplate, list: () => TEMPLATES },
    stage: secrets.stage,
    newId: () => `sb${newIdBody()}` as SandboxId,
    log,
  };
  return {
    ports,
    keys: sqlite.keys,
    announcements: opened.map(({ announcement }) => announcement),
    prepare: async (template, tell) => opened[0]?.prepare?.(template, tell),
    prune: () => void sqlite.prune({ nowMs: clock.now(), limit: PRUNED_MAX }),
    async close() {
      await Promise.all(opened.map((it) => it.close?.()));
      sqlite.close();
    },
  };
}

interface Setting {
  readonly config: Config;
  readonly secrets: Secrets;
  readonly log: Log;
  readonly agentPath: string;
  readonly clock: Clock;
}

const OPEN: Readonly<Record<ConfiguredProvider, (setting: Setting) => Promise<Opened>>> = {
  docker: openDocker,
  local: openLocal,
  memory: async ({ clock }) => ({
    provider: memoryProvider({ name: "memory", clock }),
    announcement: "memory: nothing runs at all; for tests of the control plane alone",
  }),
};

async function openDocker({ config, secrets, log, agentPath }: Setting): Promise<Opened> {
  const client = new Dockerode(engineAddress());
  const note = (line: string) => log("docker.note", { line });
  const images = createImages({
    docker: client,
    imagesDir: join(ROOT, "infra/images"),
    cacheDir: join(config.cacheDir, "images"),
    log: note,
  });
  const provider = docker({
    docker: client,
    stage: secrets.stage,
    agentPath,
    runDir: join(config.dataDir, "run"),
    images,
    sudo: config.sudo,
    allowUnfilteredEgress: config.allowUnfilteredEgress,
    log: note,
  });
  await provider.load().catch((error: unknown) => {
    log("docker.unavailable", { error: String(error) });
  });
  return {
    provider,
    announcement: announce("docker: one container per sandbox", provider),
    prepare: async (template, tell) => void (await images.ensure(template, tell, AWAY)),
    close: async () => images.close(),
  };
}

async function openLocal({ config, secrets, log, agentPath }: Setting): Promise<Opened> {
  const probe = probeLocal();
  if (probe.refused !== undefined) {
    throw new ControlPlaneError(
      "unsupported",
      `The provider local can't run here: ${probe.refused}`,
      {
        hint: "Run as root, allow unprivileged user namespaces, or start a container engine.",
      },
    );
  }
  const { dataDir, sudo } = config;
  const note = (line: string) => log("local.note", { line });
  const provider = local({ stage: secrets.stage, agentPath, dataDir, log: note, sudo, probe });
  return {
    provider,
    announcement: announce("local: Linux namespaces on this machine, without an engine", provider),
  };
}

function announce(what: string, { traits }: Provider): string {
  const gaps = traits.gaps.length === 0 ? "" : ` Not enforced here: ${traits.gaps.join("; ")}.`;
  return `${what} (isolation: ${traits.isolation}).${gaps}`;
}

async function chosenProviders(config: Config): Promise<readonly ConfiguredProvider[]> {
  if (config.providers !== "auto") return config.providers;
  const answers = await Promise.race([
    new Dockerode(engineAddress()).ping().then(
      () => true,
      () => false,
    ),
    new Promise<false>((resolve) => setTimeout(() => resolve(false), PING_MS).unref()),
  ]);
  return [answers ? "docker" : "local"];
}

/** `DOCKER_HOST`, else the socket of Docker, else the one of rootless Podman. */
function engineAddress(): Dockerode.DockerOptions {
  const { DOCKER_HOST: host, XDG_RUNTIME_DIR: runtimeDir } = process.env;
  if (host?.startsWith("unix://")) return { socketPath: host.slice("unix://".length) };
  if (host !== undefined && host !== "") {
    const url = new URL(host);
    return { protocol: "http", host: url.hostname, port: url.port || "2375" };
  }
  const podman = join(runtimeDir ?? "/run", "podman/podman.sock");
  const isPodman = !existsSync("/var/run/docker.sock") && existsSync(podman);
  return { socketPath: isPodman ? podman : "/var/run/docker.sock" };
}

/** Tells of every commit that leaves a sandbox unroutable, so that its connections can be cut. */
function watched(store: Store, onUnroutable: (id: SandboxId) => void): Store {
  return {
    ...store,
    async commit(change) {
      await store.commit(change);
      if (change.before?.state === "running" && change.after.state !== "running") {
        onUnroutable(change.after.id);
      }
    },
  };
}
