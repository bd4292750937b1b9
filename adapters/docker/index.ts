import {
  type LaunchId,
  type Observation,
  type Provider,
  providerName,
  type Suspend,
} from "@soulbox/core";
import Dockerode from "dockerode";
import { createDiskWatch } from "./disk.ts";
import { BRIDGE_DEFAULT, networkName } from "./egress.ts";
import { createEngine } from "./engine.ts";
import { classifyDocker, statusOf } from "./faults.ts";
import type { Images } from "./images.ts";
import { createLauncher } from "./launch.ts";
import { readInspect, readSummary } from "./read.ts";
import { abortable } from "./slots.ts";
import { REGION, traitsOf } from "./traits.ts";
import { containerName, DISK_LABEL, goneObservation, observationOf } from "./translate.ts";

export * from "./images.ts";

/** How the Docker provider is set up. */
export interface DockerOptions {
  /** Name in the configuration. Default `docker`. */
  readonly name?: string;
  /** The engine: a client, or the path of its socket. Podman's socket works too. */
  readonly docker: Dockerode | string;
  /** Separates installations on one engine, `[a-zA-Z0-9][a-zA-Z0-9_.]{0,31}`. */
  readonly stage: string;
  /** Path of the compiled agent on the engine's host; mounted read-only into every sandbox. */
  readonly agentPath: string;
  /** Folder on the engine's host for the sockets of sandboxes without a network; keep it short. */
  readonly runDir: string;
  readonly images: Pick<Images, "load" | "prepare" | "forget">;
  /** False forbids processes to gain rights: no `sudo` inside. Default true, as with E2B. */
  readonly sudo?: boolean;
  /** True lets sandboxes reach the host and private networks where rules can't be laid. */
  readonly allowUnfilteredEgress?: boolean;
  /** True reaches agents by ports on loopback even where the bridge's addresses would do. */
  readonly publishPorts?: boolean;
  /**
   * Bridge on the engine's host, at most 15 characters. Default `soulbox0`; engines that share a
   * host's network need one each.
   */
  readonly bridge?: string;
  /** Name servers that the engine asks, where its configuration names others than its host's. */
  readonly resolvers?: readonly string[];
  /** The engine's runtime, `runsc` for example. Default: the engine's own. */
  readonly runtime?: string;
  /** Gets one line per event worth knowing. Default: nowhere. */
  readonly log?: (line: string) => void;
}

/** The provider, and what is to be done once at start. */
export interface DockerProvider extends Provider {
  /**
   * Asks the engine what it can do, so that `traits` tell the truth, and clears what a killed
   * server left. Without it, the first launch does so.
   *
   * @throws what the engine's client threw; the next call tries again.
   */
  load(): Promise<void>;
}

/**
 * Sandboxes as containers of one Docker engine.
 *
 * - Idempotency key: the container's name, made of stage and launch id. The engine refuses a
 *   second one (409); it is then looked up.
 * - Gone: removed, or exited. An exited container is never started again.
 * - `terminateByMs`: the engine has no timer; a sandbox whose server is down lives on until one
 *   is up. Shown among the gaps.
 * - With a network, the agent listens on the address of the bridge. Without one there is nothing
 *   but a unix socket in a folder of the host, whose content the sandbox controls: whoever
 *   connects must open the socket itself, without following links.
 *
 * Source: the engine's API v1.45, as answered by Docker 26.1.5, tried 2026-11-25.
 */
export function docker(options: DockerOptions): DockerProvider {
  const { stage, images, bridge = BRIDGE_DEFAULT } = options;
  if (!/^[a-zA-Z0-9][a-zA-Z0-9_.]{0,31}$/.test(stage)) {
    throw new Error(`The stage ${JSON.stringify(stage)} can't be part of a container's name.`);
  }
  const client =
    typeof options.docker === "string"
      ? new Dockerode({ socketPath: options.docker })
      : options.docker;
  const nowMs = () => performance.now();
  const engine = createEngine({
    docker: client,
    stage,
    runDir: options.runDir,
    bridge,
    allowUnfilteredEgress: options.allowUnfilteredEgress ?? false,
    forcePublished: options.publishPorts ?? false,
    resolvers: options.resolvers,
    runtime: options.runtime,
    log: options.log ?? (() => {}),
    nowMs,
    onLoad: () => images.load(),
  });
  const { agentPath, sudo = true } = options;
  const network = networkName(bridge);
  const launcher = createLauncher({ engine, images, stage, network, agentPath, sudo });
  const disk = createDiskWatch<string>({
    nowMs,
    measure: (id, signal) => measure(client, id, signal),
  });

  const containerOf = (launchId: LaunchId) => client.getContainer(containerName(stage, launchId));

  const breachOf = (id: string, labels: Readonly<Record<string, string>>): Observation["breach"] =>
    (disk.sizeBytes(id) ?? 0) > Number(labels[DISK_LABEL] ?? Number.NaN) * MIB ? "disk" : undefined;

  const look = async (launchId: LaunchId, signal: AbortSignal): Promise<Observation> => {
    const container = containerOf(launchId);
    const info = await abortable(container.inspect({ abortSignal: signal }), signal);
    return observationOf(launchId, readInspect(info, breachOf(info.Id, info.Config.Labels)));
  };

  const suspend: Suspend = {
    async pause({ launchId }, signal) {
      const container = containerOf(launchId);
      await abortable(container.pause(signalled(signal)), signal).catch((error: unknown) =>
        unless(error, async () => (await look(launchId, signal)).phase === "paused"),
      );
    },
    async resume({ launchId }, signal) {
      const container = containerOf(launchId);
      await abortable(container.unpause(signalled(signal)), signal).catch((error: unknown) =>
        unless(error, async () => (await look(launchId, signal)).phase === "running"),
      );
      return look(launchId, signal);
    },
  };

  return {
    name: providerName(options.name ?? "docker"),
    get traits() {
      return traitsOf(engine.facts());
    },
    load: async () => void (await engine.load()),
    launch: (request, signal) => launcher.launch(request, signal),
    async inspect({ launchId, nativeId }, signal) {
      signal.throwIfAborted();
      return look(launchId, signal).catch((error: unknown) => {
        if (statusOf(error) === 404) return goneObservation(launchId, nativeId);
        throw error;
      });
    },
    async list(region, _cursor, signal) {
      signal.throwIfAborted();
      if (region !== REGION) return { items: [], next: undefined };
      const filters = { label: [`soulbox.stage=${stage}`] };
      const listing = client.listContainers({ all: true, filters, abortSignal: signal });
      const found = await abortable(listing, signal);
      const mine = found.filter(({ Labels }) => Labels["soulbox.launch"] !== undefined);
      disk.refresh(mine.filter(({ Labels }) => DISK_LABEL in Labels).map(({ Id }) => Id));
      engine.refreshNetwork();
      const items = mine.map((info) =>
        observationOf(
          info.Labels["soulbox.launch"] as LaunchId,
          readSummary(info, breachOf(info.Id, info.Labels)),
        ),
      );
      return { items, next: undefined };
    },
    async terminate({ launchId }, signal) {
      signal.throwIfAborted();
      await abortable(launcher.stop(launchId), signal);
      const container = containerOf(launchId);
      const removal = container.remove({ force: true, v: true, ...signalled(signal) });
      await abortable(removal, signal).catch((error: unknown) => {
        if (statusOf(error) === 404) return;
        // Somebody else's removal is under way (409): its end is ours.
        if (statusOf(error) === 409) return untilRemoved(client, container.id, signal);
        throw error;
      });
      await abortable(engine.sockets.remove(containerName(stage, launchId)), signal);
    },
    suspend,
    preparing: {
      prepare(template) {
        const preparation = images.prepare(template);
        return preparation.state === "ready" ? { state: "ready" } : preparation;
      },
    },
    classify: classifyDocker,
  };
}

const MIB = 1024 * 1024;

/** The client takes the signal in every call's options, though not all of its types say so. */
function signalled(signal: AbortSignal): { readonly abortSignal: AbortSignal } {
  return { abortSignal: signal };
}

/** Swallows a conflict (409, and 500 of older engines) when the container is as wished anyway. */
async function unless(error: unknown, isDone: () => Promise<boolean>): Promise<void> {
  const status = statusOf(error);
  if ((status === 409 || status === 500) && (await isDone())) return;
  throw error;
}

async function untilRemoved(client: Dockerode, name: string, signal: AbortSignal): Promise<void> {
  const container = client.getContainer(name);
  const wait = container.wait({ condition: "removed", abortSignal: signal });
  await abortable(wait, signal).catch((error: unknown) => {
    if (statusOf(error) !== 404) throw error;
  });
}

async function measure(client: Dockerode, id: string, signal: AbortSignal): Promise<number> {
  const options = { size: true, abortSignal: signal };
  const info: object = await abortable(client.getContainer(id).inspect(options), signal);
  return "SizeRw" in info && typeof info.SizeRw === "number" ? info.SizeRw : 0;
}
