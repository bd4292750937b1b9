import { createReadStream } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type Dockerode from "dockerode";
import { installPackages, isRootOnDebian, run } from "./debian.ts";

/**
 * How long a registry may take to its first byte, milliseconds. A reachable one needs one to
 * three seconds for its name, its token and the manifest.
 */
const REGISTRY_WAIT_MS = 10_000;

/** How long a running pull may be silent, milliseconds. */
const PULL_SILENCE_MS = 60_000;

/**
 * Makes sure that the engine has the image that Dockerfiles start from: takes the one that is
 * there, else pulls it, else makes a minimal Debian with mmdebstrap and imports it under `name`.
 *
 * @param name `debian:<suite>` or `debian:<suite>-slim`; others can only be pulled.
 * @param onProgress Gets short lines for people.
 * @throws Error that names the registry's answer and what to install, when neither is possible.
 */
export async function ensureBaseImage(
  docker: Dockerode,
  name: string,
  onProgress: (line: string) => void,
  signal?: AbortSignal,
): Promise<void> {
  if (await hasImage(docker, name)) return;
  try {
    onProgress(`pulling ${name}`);
    return await pullImage(docker, name, signal);
  } catch (error) {
    signal?.throwIfAborted();
    const reason = error instanceof Error ? error.message : String(error);
    const suite = /^debian:([a-z]+)(-slim)?$/.exec(name)?.[1];
    if (suite === undefined || !isRootOnDebian()) {
      throw new Error(
        `${name} can't be pulled (${reason}). Make a registry reachable, load the image with ` +
          "`docker load`, or run as root on Debian or Ubuntu, where it is made with mmdebstrap.",
        { cause: error },
      );
    }
    onProgress(`no registry answers; making ${name} with mmdebstrap`);
    await makeImage({ docker, name, suite, onProgress }, signal);
  }
}

/** True when the engine has an image of that name or id. */
export async function hasImage(docker: Dockerode, name: string): Promise<boolean> {
  try {
    await docker.getImage(name).inspect();
    return true;
  } catch (error) {
    if (error instanceof Error && "statusCode" in error && error.statusCode === 404) return false;
    throw error;
  }
}

/**
 * The engine's progress messages, one by one, until its answer ends.
 *
 * @throws Error with the engine's own words when one of them reports a failure.
 */
export async function* progressOf(stream: NodeJS.ReadableStream): AsyncGenerator<string> {
  // The engine cuts the connection after a failure: an error that comes when nobody reads.
  stream.on("error", () => {});
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of stream) {
    const lines = (rest + decoder.decode(asBytes(chunk), { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      if (line.trim() === "") continue;
      const message: { stream?: string; status?: string; error?: string } = JSON.parse(line);
      if (message.error !== undefined) throw new Error(message.error);
      yield message.stream ?? message.status ?? "";
    }
  }
}

function asBytes(chunk: string | Buffer): Buffer {
  return typeof chunk === "string" ? Buffer.from(chunk) : chunk;
}

async function pullImage(docker: Dockerode, name: string, signal?: AbortSignal): Promise<void> {
  const silence = new AbortController();
  const silent = () => silence.abort(new Error("the registry does not answer"));
  let timer = setTimeout(silent, REGISTRY_WAIT_MS);
  const signals = signal === undefined ? [silence.signal] : [silence.signal, signal];
  try {
    const stream = await docker.pull(name, { abortSignal: AbortSignal.any(signals) });
    for await (const _ of progressOf(stream)) {
      clearTimeout(timer);
      timer = setTimeout(silent, PULL_SILENCE_MS);
    }
    // A connection that ends early ends the progress as quietly as success does.
    if (!(await hasImage(docker, name))) throw new Error("the pull ended early");
  } catch (error) {
    throw silence.signal.aborted ? silence.signal.reason : error;
  } finally {
    clearTimeout(timer);
  }
}

interface MakeOptions {
  readonly docker: Dockerode;
  readonly name: string;
  readonly suite: string;
  readonly onProgress: (line: string) => void;
}

async function makeImage(options: MakeOptions, signal?: AbortSignal): Promise<void> {
  const { docker, name, suite, onProgress } = options;
  if (!(await isInstalled("mmdebstrap"))) {
    await installPackages(["mmdebstrap", "debian-archive-keyring"], onProgress, signal);
  }
  const folder = await mkdtemp(join(tmpdir(), "soulbox-debian-"));
  try {
    // Into a file first: a half-made archive on a pipe would be imported as if it were whole.
    const archive = join(folder, "root.tar");
    await run("mmdebstrap", await mmdebstrapArguments(suite, archive), signal ? { signal } : {});
    onProgress(`importing ${name}`);
    const [repo, tag] = name.split(":");
    const imported = await docker.importImage(createReadStream(archive), {
      repo,
      tag,
      changes: 'CMD ["bash"]',
      message: "made with mmdebstrap",
      ...(signal === undefined ? {} : { abortSignal: signal }),
    });
    for await (const _ of progressOf(imported));
    if (!(await hasImage(docker, name))) throw new Error(`importing ${name} ended early`);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The choices of Debian's own slim images, and a list of sources that holds nothing of the host. */
async function mmdebstrapArguments(suite: string, archive: string): Promise<string[]> {
  const sources = await sourcesFor(suite);
  const dateChecks = await hostDateChecks();
  return [
    "--mode=root",
    "--variant=minbase",
    "--format=tar",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-include=/usr/share/doc/*/copyright",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/info/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    "--dpkgopt=force-unsafe-io",
    '--aptopt=Acquire::Languages "none"',
    '--aptopt=Acquire::GzipIndexes "true"',
    ...dateChecks.map((line) => `--aptopt=${line}`),
    '--customize-hook=printf "#!/bin/sh\\nexit 101\\n" > "$1/usr/sbin/policy-rc.d"',
    '--customize-hook=chmod 0755 "$1/usr/sbin/policy-rc.d"',
    '--customize-hook=: > "$1/etc/resolv.conf"; rm -f "$1/etc/hostname"',
    suite,
    archive,
    ...sources,
  ];
}

/**
 * The Debian mirrors that this host uses itself: near, and known to be reachable. A host that has
 * none, Ubuntu for one, leaves the choice to mmdebstrap, which knows Debian's own.
 */
async function sourcesFor(suite: string): Promise<readonly string[]> {
  const listed = await run("apt-get", ["indextargets", "--format", "$(SITE)"]).catch(() => "");
  // A site with a user and a password stays on the host.
  const sites = listed.split("\n").filter((site) => /^https?:\/\/[^@\s]+$/.test(site));
  const find = (path: RegExp) => sites.find((site) => path.test(site));
  const mirror = find(/\/debian\/?$/);
  const security = find(/\/debian-security\/?$/);
  if (mirror === undefined) return [];
  return [
    `deb ${mirror} ${suite} main`,
    `deb ${mirror} ${suite}-updates main`,
    ...(security === undefined ? [] : [`deb ${security} ${suite}-security main`]),
  ];
}

/** A frozen mirror is a property of the mirror, so its host's date checks go with it. */
async function hostDateChecks(): Promise<string[]> {
  const keys = ["Acquire::Check-Valid-Until", "Acquire::Check-Date"];
  const dumps = await Promise.all(
    keys.map((key) => run("apt-config", ["dump", key]).catch(() => "")),
  );
  return dumps.map((dump) => dump.trim()).filter((line) => /^[\w:-]+ "\w+";$/.test(line));
}

async function isInstalled(command: string): Promise<boolean> {
  try {
    await run(command, ["--version"]);
    return true;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return false;
    throw error;
  }
}
