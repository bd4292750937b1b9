import { createHash } from "node:crypto";
import {
  type EpochMs,
  epochMs,
  type LaunchId,
  type LaunchRequest,
  type Observation,
} from "@soulbox/core";
import { AGENT_ENV, AGENT_PORT } from "@soulbox/protocol";
import type { ContainerCreateOptions, HostConfig } from "dockerode";
import type { EngineFacts } from "./facts.ts";
import { SOCKET_FILE } from "./sockets.ts";

/** Where the agent is mounted in a sandbox. */
export const AGENT_PATH = "/.soulbox/agent";
/** Where the folder of its socket is mounted, in a sandbox without a network. */
export const RUN_PATH = "/.soulbox/run";
/** Label of the disk limit in mebibytes, where it is measured from outside. */
export const DISK_LABEL = "soulbox.disk-mib";

const PORT_KEY = `${AGENT_PORT}/tcp`;
const MIB = 1024 * 1024;

/**
 * Capabilities of the sandbox's root. All others are dropped; NET_RAW among them, by which a
 * sandbox could take over its neighbours' addresses.
 */
const CAPABILITIES: readonly (readonly [string, string])[] = [
  ["CHOWN", "the agent gives files to their users; so do packages"],
  ["DAC_OVERRIDE", "the agent reads and writes any user's files"],
  ["FOWNER", "the agent changes modes and times of any user's files"],
  ["FSETID", "packages keep the set-group bit of folders they install"],
  ["KILL", "the agent signals any user's processes"],
  ["SETGID", "the agent starts processes as any user; so does sudo"],
  ["SETUID", "the same"],
  ["NET_BIND_SERVICE", "a server on port 80, where the kernel asks for it"],
];

/** What root needs beyond that when callers may become root. */
const SUDO_CAPABILITIES: readonly (readonly [string, string])[] = [
  ["AUDIT_WRITE", "sudo and su report to the audit log, and fail when they may not"],
  ["SYS_CHROOT", "sshd and package tools change their root folder"],
];

/** Processes and threads of one sandbox: a large build has hundreds, a fork bomb ends here. */
const PIDS_MAX = 1024;

/**
 * Open files per process: servers need thousands. Not more than an engine may give that lacks the
 * right to raise its own limit; 20,000 was met, and more failed every start.
 */
const FILES_MAX = 16_384;

/**
 * When the host runs out of memory, sandboxes go before its services. The agent moves what it
 * starts up to 1000.
 */
const OOM_SCORE_ADJUSTMENT = 300;

/** What a container is made of, beside the request. */
export interface ContainerPlan {
  readonly name: string;
  readonly image: string;
  /** The engine's network for sandboxes. */
  readonly network: string;
  readonly stage: string;
  /** Host's path of the compiled agent. */
  readonly agentPath: string;
  /** Host's path of the socket's folder; `undefined` = on the bridge. */
  readonly socketDir: string | undefined;
  readonly sudo: boolean;
  readonly facts: EngineFacts;
}

/**
 * Name of a launch's container: the idempotency key. The launch id is hashed, because the
 * engine's DNS tells every sandbox on the bridge the names of the others.
 */
export function containerName(stage: string, launchId: LaunchId): string {
  const hash = createHash("sha256").update(launchId).digest("hex");
  return `soulbox-${stage}-${hash.slice(0, 24)}`;
}

/** The engine's DNS answers for host names as well, so these hold no id either. */
const HOSTNAME_HASH_LENGTH = 8;

/** The engine's create call for a launch. */
export function createOptions(request: LaunchRequest, plan: ContainerPlan): ContainerCreateOptions {
  const { facts, socketDir } = plan;
  const isPublished = socketDir === undefined && facts.reach === "published";
  const listen =
    socketDir === undefined ? `tcp:0.0.0.0:${AGENT_PORT}` : `unix:${RUN_PATH}/${SOCKET_FILE}`;
  const env = { ...request.agentEnv, [AGENT_ENV.listen]: listen };
  return {
    name: plan.name,
    Image: plan.image,
    Hostname: `sandbox-${plan.name.slice(-HOSTNAME_HASH_LENGTH)}`,
    User: "0:0",
    WorkingDir: "/",
    Entrypoint: [AGENT_PATH],
    Cmd: [],
    Env: Object.entries(env).map(([key, value]) => `${key}=${value}`),
    Labels: {
      ...request.labels,
      "soulbox.stage": plan.stage,
      ...(facts.disk === "measured" ? { [DISK_LABEL]: String(request.resources.diskMib) } : {}),
    },
    NetworkDisabled: socketDir !== undefined,
    ...(isPublished ? { ExposedPorts: { [PORT_KEY]: {} } } : {}),
    HostConfig: {
      ...hostConfig(request, plan),
      ...networkMode(plan),
      ...(isPublished ? { PortBindings: { [PORT_KEY]: [{ HostIp: "127.0.0.1" }] } } : {}),
    },
  };
}

/**
 * Docker starts twice as fast with networks disabled as with the mode `none`; Podman ignores the
 * former, and would attach the sandbox to its default network.
 */
function networkMode({ socketDir, network, facts }: ContainerPlan): HostConfig {
  if (socketDir === undefined) return { NetworkMode: network };
  return facts.engine === "podman" ? { NetworkMode: "none" } : {};
}

/** The client's types lack what came with version 1.41 of the engine's API. */
interface FullHostConfig extends HostConfig {
  readonly CgroupnsMode: "private" | "host";
}

function hostConfig({ resources }: LaunchRequest, plan: ContainerPlan): FullHostConfig {
  const { facts, socketDir, sudo } = plan;
  const memory = resources.memoryMib * MIB;
  const capabilities = sudo ? [...CAPABILITIES, ...SUDO_CAPABILITIES] : CAPABILITIES;
  return {
    Init: true,
    ...(facts.runtime === undefined ? {} : { Runtime: facts.runtime }),
    CapDrop: ["ALL"],
    CapAdd: capabilities.map(([name]) => name),
    SecurityOpt: sudo ? [] : ["no-new-privileges"],
    Memory: memory,
    MemorySwap: memory,
    NanoCpus: resources.cpuMilli * 1_000_000,
    ...(facts.limits.pids ? { PidsLimit: PIDS_MAX } : {}),
    Ulimits: [
      { Name: "nofile", Soft: FILES_MAX, Hard: FILES_MAX },
      { Name: "core", Soft: 0, Hard: 0 },
    ],
    ...(facts.disk === "hard" ? { StorageOpt: { size: `${resources.diskMib}m` } } : {}),
    // Counts as the sandbox's memory, so half of it is no more than a tmpfs takes by default.
    ShmSize: Math.floor(memory / 2),
    OomScoreAdj: OOM_SCORE_ADJUSTMENT,
    CgroupnsMode: "private",
    IpcMode: "private",
    LogConfig: { Type: "none", Config: {} },
    RestartPolicy: { Name: "no" },
    Mounts: [
      { Type: "bind", Source: plan.agentPath, Target: AGENT_PATH, ReadOnly: true },
      ...(socketDir === undefined
        ? []
        : [{ Type: "bind" as const, Source: socketDir, Target: RUN_PATH }]),
    ],
  };
}

/** The part of the engine's answers about one container that counts here. */
export interface ContainerFacts {
  readonly id: string;
  readonly state: string;
  readonly createdAtMs: EpochMs | undefined;
  readonly startedAtMs: EpochMs | undefined;
  readonly endedAtMs: EpochMs | undefined;
  readonly mounts: readonly { readonly Source?: string; readonly Destination: string }[];
  /** Address on the bridge. */
  readonly address: string | undefined;
  /** Port on the host's loopback. */
  readonly publishedPort: number | undefined;
  readonly breach: Observation["breach"];
  readonly detail: string;
}

/** The engine's state of a container as an observation. */
export function observationOf(launchId: LaunchId, container: ContainerFacts): Observation {
  const phase = phaseOf(container.state);
  const isOver = phase === "gone";
  return {
    launchId,
    nativeId: container.id,
    phase,
    agentAddress: isOver ? undefined : addressOf(container),
    startedAtMs: container.startedAtMs ?? container.createdAtMs,
    endedAtMs: isOver ? container.endedAtMs : undefined,
    breach: container.breach,
    detail: container.detail,
  };
}

/** What is said of an instance that the engine doesn't know. */
export function goneObservation(launchId: LaunchId, nativeId: string | undefined): Observation {
  return {
    launchId,
    nativeId,
    phase: "gone",
    agentAddress: undefined,
    startedAtMs: undefined,
    endedAtMs: undefined,
    breach: undefined,
    detail: "no such container",
  };
}

/** An exited container is gone: it is never started again, and its processes are over. */
function phaseOf(state: string): Observation["phase"] {
  switch (state) {
    case "running":
    case "paused":
      return state;
    case "removing":
    case "stopping":
      return "terminating";
    case "exited":
    case "stopped":
    case "dead":
      return "gone";
    default:
      return "starting";
  }
}

function addressOf({ mounts, address, publishedPort }: ContainerFacts): string | undefined {
  const socketDir = mounts.find(({ Destination }) => Destination === RUN_PATH)?.Source;
  if (socketDir !== undefined) return `unix:${socketDir}/${SOCKET_FILE}`;
  if (publishedPort !== undefined) return `http://127.0.0.1:${publishedPort}`;
  return address ? `http://${address}:${AGENT_PORT}` : undefined;
}

/** An instant in the engine's spelling; it writes the year 1 for never. */
export function instantOf(text: string | undefined): EpochMs | undefined {
  const ms = text === undefined ? Number.NaN : Date.parse(text);
  return ms > 0 ? epochMs(ms) : undefined;
}
