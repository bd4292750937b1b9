import Dockerode from "dockerode";
import { timed } from "./measure.ts";

/** The engine alone: the floor that sandboxes on it are compared with. */
export interface BareEngine {
  /** create + start + exec to the end of its output, bridge network, milliseconds. */
  cold(): Promise<number>;
  /** One exec of `true` in a container that runs, milliseconds. */
  exec(): Promise<number>;
  close(): Promise<void>;
}

export async function bareEngine(image: string): Promise<BareEngine> {
  const host = process.env.DOCKER_HOST?.replace(/^unix:\/\//, "");
  const docker = new Dockerode({ socketPath: host ?? "/var/run/docker.sock" });
  const settings = {
    Image: image,
    Cmd: ["sleep", "600"],
    HostConfig: { Init: true, Memory: 512 * 1024 * 1024, PidsLimit: 512 },
  };
  const standing = await docker.createContainer(settings);
  await standing.start();

  async function exec(container: Dockerode.Container, command: readonly string[]): Promise<void> {
    const created = await container.exec({ Cmd: [...command], AttachStdout: true });
    const stream = await created.start({ hijack: true, stdin: false });
    stream.resume();
    await new Promise((resolve) => stream.on("end", resolve));
  }

  return {
    async cold() {
      let container: Dockerode.Container | undefined;
      const ms = await timed(async () => {
        container = await docker.createContainer(settings);
        await container.start();
        await exec(container, ["node", "-v"]);
      });
      await container?.remove({ force: true });
      return ms;
    },
    exec: () => timed(() => exec(standing, ["true"])),
    close: () => standing.remove({ force: true }),
  };
}
