import { randomBytes } from "node:crypto";
import { mkdir, mkdtemp, readdir, rm } from "node:fs/promises";
import { request } from "node:http";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { type DockerOptions, type DockerProvider, docker } from "@soulbox/adapter-docker";
import type { LaunchId, Observation, SandboxSpec, Template } from "@soulbox/core";
import Dockerode from "dockerode";
import { ensureBaseImage } from "../../adapters/docker/base-image.ts";
import { run } from "../../adapters/docker/debian.ts";
import { containerName } from "../../adapters/docker/translate.ts";
import type { ProviderHarness } from "./provider-world.ts";

/** A small image that runs the agent; tests look around in it with bash. */
export const IMAGE = "debian:trixie-slim";

/** What the tests launch. */
export const TEMPLATE: Template = {
  id: "slim",
  names: ["slim"],
  folder: "slim",
  args: {},
  resources: { cpuMilli: 500, memoryMib: 256, diskMib: 512 },
};

/** Providers of one test run at one engine. */
export interface DockerBench {
  readonly client: Dockerode;
  readonly stage: string;
  /** Folder on this host for the sockets. */
  readonly runDir: string;
  /** Another provider at the same engine; by default of the same stage. */
  provider(options?: Partial<DockerOptions>): DockerProvider;
  /** Containers and socket folders of this run, whatever their stage. */
  leftovers(): Promise<readonly string[]>;
  close(): Promise<void>;
}

/** Sets up an image, an agent and folders for tests at the engine behind a socket. */
export async function openBench(socketPath: string): Promise<DockerBench> {
  const client = new Dockerode({ socketPath });
  await ensureBaseImage(client, IMAGE, () => {});
  const dir = await mkdtemp(join(tmpdir(), "sbx-"));
  const stage = `t${randomBytes(4).toString("hex")}`;
  const runDir = join(dir, "run");
  await mkdir(runDir);
  const agentPath = await buildStandIn(dir);
  return {
    client,
    stage,
    runDir,
    provider: (options = {}) =>
      docker({
        docker: client,
        stage,
        agentPath,
        runDir,
        images: {
          load: async () => {},
          prepare: () => ({ state: "ready", image: IMAGE }),
          forget: () => {},
        },
        ...options,
      }),
    leftovers: async () => {
      const containers = await client.listContainers({ all: true });
      const names = containers.flatMap(({ Names }) => Names);
      return [...names.filter((name) => name.includes(stage)), ...(await readdir(runDir))];
    },
    close: () => rm(dir, { recursive: true, force: true }),
  };
}

/** The contract's harness for the engine behind a socket. */
export async function openDockerHarness(
  socketPath: string,
  provoke: (bench: DockerBench) => ProviderHarness["provoke"],
  options: Partial<DockerOptions> = {},
): Promise<ProviderHarness> {
  const bench = await openBench(socketPath);
  const { client, stage } = bench;
  const neighbour = `${stage}.neighbour`;
  const container = (launchId: LaunchId) => client.getContainer(containerName(stage, launchId));
  const provider = bench.provider(options);
  await provider.load();
  return {
    provider,
    stage,
    neighbour: { provider: bench.provider({ ...options, stage: neighbour }), stage: neighbour },
    template: TEMPLATE,
    reach: reachAgent,
    identity: async (seen) => {
      const { State } = await container(seen.launchId).inspect();
      return `${State.Pid} ${State.StartedAt} ${await askAgent(seen)}`;
    },
    labels: async (launchId) => (await container(launchId).inspect()).Config.Labels,
    leftovers: bench.leftovers,
    provoke: provoke(bench),
    close: bench.close,
  };
}

/** A sandbox's network without any wish but one. */
export function networkWith(internet: boolean | undefined): SandboxSpec["network"] {
  return { internet, publicTraffic: true, maskRequestHost: undefined, bandwidthKbit: undefined };
}

/** True when the agent answers within a second. */
export function reachAgent(seen: Observation): Promise<boolean> {
  return askAgent(seen).then(
    () => true,
    () => false,
  );
}

/** Asks the agent how it is; resolves to what it says of its start. */
function askAgent({ agentAddress = "" }: Observation): Promise<string> {
  const signal = AbortSignal.timeout(1000);
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const options = agentAddress.startsWith("unix:")
    ? { socketPath: agentAddress.slice("unix:".length), path: "/health" }
    : {
        host: URL.parse(agentAddress)?.hostname,
        port: URL.parse(agentAddress)?.port,
        path: "/health",
      };
  request({ ...options, signal, agent: false }, (response) => {
    response.resume();
    if (response.statusCode === 204) resolve(String(response.headers["x-started"]));
    else reject(new Error(`The agent answered ${response.statusCode}.`));
  })
    .on("error", reject)
    .end();
  return promise;
}

/** Compiles the stand-in for the agent. */
async function buildStandIn(dir: string): Promise<string> {
  const arch = process.arch === "arm64" ? "aarch64" : "x64";
  const packageJson = createRequire(import.meta.url).resolve(
    `@oven/bun-linux-${arch}/package.json`,
  );
  const agentPath = join(dir, "agent");
  const source = join(import.meta.dirname, "stand-in-agent.ts");
  const bun = join(dirname(packageJson), "bin/bun");
  await run(bun, ["build", "--compile", "--outfile", agentPath, source], { cwd: dir });
  return agentPath;
}
