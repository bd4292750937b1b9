import { existsSync } from "node:fs";
import type Dockerode from "dockerode";
import type { NetworkInspectInfo } from "dockerode";
import { egressScript, networkName, RESOLVERS_SCRIPT, resolversOf } from "./egress.ts";
import { DockerError, statusOf } from "./faults.ts";
import type { RunOnHost } from "./host.ts";
import { abortable } from "./slots.ts";

/** The one bridge that all sandboxes with a network are on. */
export interface SandboxNetwork {
  /**
   * Makes sure that the bridge is there and its rules are laid. Concurrent callers share the
   * work; its result holds for 30 s, and for 10 minutes while it is looked at again.
   *
   * @param pickHost Who can lay the rules, asked once the bridge is there; `undefined` = nobody.
   * @returns True when the rules are laid.
   * @throws what the engine's client threw for the bridge. Rules that can't be laid are no error.
   */
  ensure(pickHost: () => RunOnHost | undefined): Promise<boolean>;
  /** Whose engine it is, as its answers show; `docker` before the first. */
  engine(): "docker" | "podman";
  /**
   * True when the bridge is in this server's network, as far as that shows: Podman makes the
   * device only for the first sandbox, and is taken to be here.
   */
  isHere(): boolean;
  /** The next {@link ensure} looks again. */
  forget(): void;
}

/** What {@link createSandboxNetwork} needs. */
export interface SandboxNetworkOptions {
  readonly docker: Dockerode;
  /** Name of its bridge. */
  readonly bridge: string;
  /** Resolvers that the engine's DNS asks. Default: those of its host's `resolv.conf`. */
  readonly resolvers: readonly string[] | undefined;
  readonly log: (line: string) => void;
  /** A clock that never goes back, milliseconds. */
  readonly nowMs: () => number;
}

/** When the rules were last laid, by whom if by anybody. */
interface Laid {
  readonly isFiltered: boolean;
  readonly isTried: boolean;
  readonly atMs: number;
}

/** Somebody may flush the host's rules: they are laid again when last seen so long ago, milliseconds. */
const FRESH_MS_MAX = 30_000;

/** Until this age a launch does not wait for that, milliseconds: a helper takes half a second. */
const TRUST_MS_MAX = 600_000;

/** See {@link SandboxNetwork}. */
export function createSandboxNetwork(options: SandboxNetworkOptions): SandboxNetwork {
  const { docker, log, nowMs } = options;
  let laid: Laid | undefined;
  let isPodman = false;
  let laying: Promise<boolean> | undefined;

  const layRules = async (
    host: RunOnHost,
    own: readonly string[],
    signal: AbortSignal,
  ): Promise<boolean> => {
    try {
      const outer = options.resolvers ?? resolversOf(await host(RESOLVERS_SCRIPT, signal));
      await host(egressScript(options.bridge, [...outer, ...own]), signal);
      return true;
    } catch (error) {
      log(`the egress rules can't be laid: ${error instanceof Error ? error.message : error}`);
      return false;
    }
  };

  const lay = async (pickHost: () => RunOnHost | undefined): Promise<boolean> => {
    const signal = AbortSignal.timeout(LAY_MS_MAX);
    const info = await ensureBridge(docker, options.bridge, signal);
    isPodman = isPodmans(info);
    // Podman's DNS answers at the gateway, whereas Docker's is inside each sandbox.
    const own = isPodman ? [info.IPAM?.Config?.[0]?.Gateway ?? []].flat() : [];
    const host = pickHost();
    const isFiltered = host !== undefined && (await abortable(layRules(host, own, signal), signal));
    laid = { isFiltered, isTried: host !== undefined, atMs: nowMs() };
    return isFiltered;
  };

  const start = (pickHost: () => RunOnHost | undefined): Promise<boolean> => {
    laying ??= lay(pickHost).finally(() => {
      laying = undefined;
    });
    return laying;
  };

  return {
    ensure(pickHost) {
      if (laid === undefined || !laid.isTried) return start(pickHost);
      const ageMs = nowMs() - laid.atMs;
      if (ageMs < FRESH_MS_MAX) return Promise.resolve(laid.isFiltered);
      const looking = start(pickHost);
      if (!laid.isFiltered || ageMs > TRUST_MS_MAX) return looking;
      looking.catch((error: unknown) => log(`the network can't be looked at: ${error}`));
      return Promise.resolve(true);
    },
    engine: () => (isPodman ? "podman" : "docker"),
    isHere: () => isPodman || existsSync(`/sys/class/net/${options.bridge}`),
    forget() {
      laid = undefined;
    },
  };
}

/** The work is shared, so it has a bound of its own, milliseconds. */
const LAY_MS_MAX = 45_000;

/** Label of the network: the bridge that it was made on. */
const BRIDGE_LABEL = "soulbox.network";

const BRIDGE_OPTION = "com.docker.network.bridge.name";

/** Podman takes the option of the bridge's name, but doesn't give it back. */
function isPodmans({ Options }: NetworkInspectInfo): boolean {
  return Options?.[BRIDGE_OPTION] === undefined;
}

/** The network, made when it is missing. */
async function ensureBridge(
  docker: Dockerode,
  bridge: string,
  signal: AbortSignal,
): Promise<NetworkInspectInfo> {
  const network = docker.getNetwork(networkName(bridge));
  const look = () => abortable(network.inspect(), signal);
  const info = await look().catch(async (error: unknown) => {
    if (statusOf(error) !== 404) throw error;
    await makeBridge(docker, bridge, signal);
    return look();
  });
  const found = isPodmans(info) ? info.Labels?.[BRIDGE_LABEL] : info.Options?.[BRIDGE_OPTION];
  if (found === bridge) return info;
  // Rules name the bridge: on another one they would apply to nothing.
  const hint = `Remove it: docker network rm ${networkName(bridge)}`;
  throw new DockerError("invalid", `The network's bridge is ${found}, not ${bridge}. ${hint}`);
}

async function makeBridge(
  docker: Dockerode,
  bridge: string,
  abortSignal: AbortSignal,
): Promise<void> {
  const creating = docker.createNetwork({
    Name: networkName(bridge),
    Driver: "bridge",
    Labels: { [BRIDGE_LABEL]: bridge },
    Options: { [BRIDGE_OPTION]: bridge, "com.docker.network.bridge.enable_icc": "false" },
    abortSignal,
  });
  await abortable(creating, abortSignal).catch((error: unknown) => {
    // Another server was faster.
    if (statusOf(error) !== 409) throw error;
  });
}
