import type { LaunchRequest } from "@soulbox/core";
import type Dockerode from "dockerode";
import { canLimitBandwidth } from "./bandwidth.ts";
import { type EngineFacts, type EngineInfo, factsOf, mayLimitDisk, nearnessOf } from "./facts.ts";
import { DockerError, isStorageOptRefused } from "./faults.ts";
import { type RunOnHost, runByHelper, runHere } from "./host.ts";
import { createSandboxNetwork } from "./network.ts";
import { abortable } from "./slots.ts";
import { createSockets, type Sockets } from "./sockets.ts";
import { attachmentOf, traitsOf } from "./traits.ts";

/** One engine and what is known of it. */
export interface Engine {
  readonly docker: Dockerode;
  readonly sockets: Sockets;
  /** What is known; `undefined` before the engine's first answer. */
  facts(): EngineFacts | undefined;
  /**
   * Asks the engine what it can do, and clears what a killed server left on this host. Done once;
   * after a failure the next call tries again.
   *
   * @throws what the engine's client threw.
   */
  load(): Promise<EngineFacts>;
  /**
   * Prepares what a launch is attached to.
   *
   * @param name Of the container.
   * @param image Of the launch: a helper may need one.
   * @returns Path of the socket's folder; `undefined` = it goes on the bridge.
   * @throws DockerError `invalid` when the engine can't give what is asked.
   */
  attach(request: LaunchRequest, name: string, image: string): Promise<string | undefined>;
  /** Looks at the bridge and its rules again at the next {@link attach}. */
  forgetNetwork(): void;
  /** Lays the rules again, in the background, when they were last seen 30 s ago. */
  refreshNetwork(): void;
}

/** What {@link createEngine} needs. */
export interface EngineOptions {
  readonly docker: Dockerode;
  readonly stage: string;
  readonly runDir: string;
  readonly bridge: string;
  readonly allowUnfilteredEgress: boolean;
  readonly forcePublished: boolean;
  readonly resolvers: readonly string[] | undefined;
  readonly runtime: string | undefined;
  readonly log: (line: string) => void;
  readonly nowMs: () => number;
  /** What else is to be done at the first answer. */
  readonly onLoad: () => Promise<void>;
}

/** The engine's answers to its own questions may take this long, milliseconds. */
const LOAD_MS_MAX = 60_000;

/** See {@link Engine}. */
export function createEngine(options: EngineOptions): Engine {
  const { docker, stage, runDir, log } = options;
  const isRoot = process.getuid?.() === 0;
  const sockets = createSockets(runDir, isRoot);
  const network = createSandboxNetwork(options);
  let known: EngineFacts | undefined;
  let loading: Promise<EngineFacts> | undefined;
  let lastImage: string | undefined;

  const isHere = () => known?.sockets === true && network.isHere();

  /** Who lays the rules: this server, or a helper made from an image that is there. */
  const hostOf =
    (isHere: () => boolean, image: string | undefined) => (): RunOnHost | undefined => {
      if (isRoot && isHere()) return runHere;
      return image === undefined ? undefined : runByHelper(docker, image);
    };

  const egressOf = (isFiltered: boolean, image: string | undefined): EngineFacts["egress"] => {
    if (isFiltered) return "filtered";
    if (options.allowUnfilteredEgress) return "open";
    return image === undefined ? "untried" : "none";
  };

  const learn = async (abortSignal: AbortSignal): Promise<EngineFacts> => {
    const isUnixSocket = isSocketPath(docker);
    const info: EngineInfo = await abortable(docker.info(), abortSignal);
    const images = await docker.listImages({ abortSignal });
    const image = images.find(({ RepoTags }) => RepoTags?.[0]?.includes("soulbox/"))?.RepoTags?.[0];
    const isNear = () => nearnessOf(info, isUnixSocket, network.isHere()).sameNetwork;
    const isFiltered = await network.ensure(hostOf(isNear, image));
    await sweep(docker, stage, sockets, abortSignal);
    await options.onLoad();
    return factsOf(info, {
      nearness: nearnessOf(info, isUnixSocket, network.isHere()),
      engine: network.engine(),
      egress: egressOf(isFiltered, image),
      forcePublished: options.forcePublished,
      canLimitBandwidth: await canLimitBandwidth(),
      canLimitDisk: mayLimitDisk(info) && (await limitsDisk(docker, image)),
      runtime: options.runtime,
    });
  };

  const load = (): Promise<EngineFacts> => {
    if (known !== undefined) return Promise.resolve(known);
    const signal = AbortSignal.timeout(LOAD_MS_MAX);
    loading ??= abortable(learn(signal), signal)
      .then((facts) => {
        known = facts;
        return facts;
      })
      .finally(() => {
        loading = undefined;
      });
    return loading;
  };

  /** True when the launch goes on the bridge, which is then there and as safe as it can be. */
  const bridge = async ({ network: asked }: LaunchRequest, image: string): Promise<boolean> => {
    const facts = await load();
    if (attachmentOf(asked, facts) === "none") return false;
    lastImage = image;
    const isFiltered = await network.ensure(hostOf(isHere, image));
    known = { ...facts, egress: egressOf(isFiltered, image) };
    return attachmentOf(asked, known) === "bridge";
  };

  return {
    docker,
    sockets,
    facts: () => known,
    load,
    async attach(request, name, image) {
      const isBridged = await bridge(request, image);
      const fit = traitsOf(known).fit(request);
      if ("refused" in fit) throw new DockerError("invalid", fit.refused);
      return isBridged ? undefined : sockets.make(name);
    },
    forgetNetwork: () => network.forget(),
    refreshNetwork() {
      if (known?.egress !== "filtered") return;
      network.ensure(hostOf(isHere, lastImage)).catch((error: unknown) => log(String(error)));
    },
  };
}

/** Folders that no container of the stage uses: their server died before it removed them. */
async function sweep(
  docker: Dockerode,
  stage: string,
  sockets: Sockets,
  abortSignal: AbortSignal,
): Promise<void> {
  const folders = await sockets.list();
  const filters = { label: [`soulbox.stage=${stage}`] };
  const containers = await docker.listContainers({ all: true, filters, abortSignal });
  const used = new Set(containers.flatMap(({ Names }) => Names.map((name) => name.slice(1))));
  const isStale = (name: string) => name.startsWith(`soulbox-${stage}-`) && !used.has(name);
  await Promise.all(folders.filter(isStale).map((name) => sockets.remove(name)));
}

async function limitsDisk(docker: Dockerode, image: string | undefined): Promise<boolean> {
  if (image === undefined) return false;
  try {
    const probe = await docker.createContainer({
      Image: image,
      Cmd: ["true"],
      HostConfig: { StorageOpt: { size: "64m" }, NetworkMode: "none" },
    });
    await probe.remove({ force: true, v: true });
    return true;
  } catch (error) {
    if (isStorageOptRefused(error)) return false;
    throw error;
  }
}

function isSocketPath(docker: Dockerode): boolean {
  const modem: object = docker.modem;
  return "socketPath" in modem && modem.socketPath !== undefined;
}
