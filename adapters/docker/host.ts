import type Dockerode from "dockerode";
import { run } from "./debian.ts";

/** Runs a shell script as root on the engine's host, in the engine's network; gives its output. */
export type RunOnHost = (script: string, signal: AbortSignal) => Promise<string>;

/** For a server that is root in the engine's own network. */
export const runHere: RunOnHost = (script, signal) => run("sh", ["-c", script], { signal });

/** Label of helper containers. */
const HELPER_LABEL = "soulbox.helper";

/** Longest time for a helper, milliseconds: a start, a few commands, their lock. */
const HELPER_MS_MAX = 30_000;

/**
 * For every other server: a short-lived privileged container that enters the mounts of the
 * engine's own process, whose `iptables` is there because the engine needs it as well.
 *
 * @param image Any image with `sh` and util-linux's `nsenter`; Debian's have them.
 */
export function runByHelper(docker: Dockerode, image: string): RunOnHost {
  return async (script, signal) => {
    const abortSignal = AbortSignal.any([signal, AbortSignal.timeout(HELPER_MS_MAX)]);
    const container = await docker.createContainer({
      Image: image,
      Entrypoint: ["sh", "-c", ENTER_ENGINE, "helper", script],
      Cmd: [],
      Tty: true,
      Labels: { [HELPER_LABEL]: "egress" },
      HostConfig: { Privileged: true, NetworkMode: "host", PidMode: "host" },
      abortSignal,
    });
    try {
      await container.start({ abortSignal });
      const { StatusCode } = await container.wait({ abortSignal });
      const output = (await container.logs({ stdout: true, stderr: true, abortSignal })).toString();
      if (StatusCode === 0) return output.replaceAll("\r\n", "\n");
      throw new Error(`The helper on the engine's host failed (${StatusCode}): ${output.trim()}`);
    } finally {
      await container.remove({ force: true, v: true }).catch(() => {});
    }
  };
}

/** The engine's process is the one of that name in the network that the helper shares with it. */
const ENTER_ENGINE = `
net=$(readlink /proc/self/ns/net); pid=1
for dir in /proc/[0-9]*; do
  read -r name < "$dir/comm" 2>/dev/null || continue
  case "$name" in dockerd|podman)
    if [ "$(readlink "$dir/ns/net")" = "$net" ]; then pid=\${dir#/proc/}; break; fi
  esac
done
exec nsenter --target "$pid" --mount --net sh -c "$1"`;
