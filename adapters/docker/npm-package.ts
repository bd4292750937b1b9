import { createReadStream } from "node:fs";
import { mkdir, mkdtemp, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { createGunzip } from "node:zlib";
import { extract, type Header, type Pack } from "tar-stream";
import { run } from "./debian.ts";

/** Which package is wanted, and where copies are kept. */
export interface NpmPackage {
  /** Name without scope. */
  readonly name: string;
  /** Major, or any range without spaces. */
  readonly version: string;
  /** Folder for the archives; made when missing. A copy there is used without asking again. */
  readonly cacheDir: string;
}

/**
 * Fetches a package's archive with the host's `npm pack`, which checks its integrity, or takes
 * the copy in the cache.
 *
 * @returns Path of the `.tgz` file.
 * @throws Error when npm is missing, or with its last lines when it fails.
 */
export async function fetchNpmPackage(
  { name, version, cacheDir }: NpmPackage,
  signal: AbortSignal,
): Promise<string> {
  const path = join(cacheDir, `${name}@${version}.tgz`);
  await mkdir(cacheDir, { recursive: true });
  if ((await readdir(cacheDir)).includes(`${name}@${version}.tgz`)) return path;

  const folder = await mkdtemp(join(cacheDir, "fetching-"));
  try {
    const retries = ["--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=5000"];
    const target = ["--loglevel=error", "--pack-destination", folder];
    await run("npm", ["pack", `${name}@${version}`, ...target, ...retries], {
      signal,
      cwd: folder,
    });
    const [archive] = await readdir(folder);
    if (archive === undefined) throw new Error(`npm pack ${name}@${version} made no archive`);
    await rename(join(folder, archive), path);
    return path;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Paths of the archives of Node and of npm for one image. */
export interface NodeArchives {
  readonly node: string;
  readonly npm: string;
}

/**
 * Adds Node and npm to a build context, laid out as `/usr/local` is: `vendor/bin/node`,
 * `vendor/lib/node_modules/npm`, and npm's links.
 */
export async function addNode(pack: Pack, archives: NodeArchives): Promise<void> {
  await addArchive(pack, archives.node, (name) =>
    name === "bin/node" ? { name: "vendor/bin/node", mode: 0o755 } : undefined,
  );
  await addArchive(pack, archives.npm, (name) => ({
    name: `vendor/lib/node_modules/npm/${name}`,
    mode: name.startsWith("bin/") ? 0o755 : 0o644,
  }));
  for (const command of ["npm", "npx"]) {
    const linkname = `../lib/node_modules/npm/bin/${command}-cli.js`;
    pack.entry({ name: `vendor/bin/${command}`, type: "symlink", linkname, mtime: EPOCH });
  }
}

/** One time for all entries, so that equal contents make an equal context. */
const EPOCH = new Date(0);

/** Where an entry goes, and with which mode. */
type Place = Pick<Header, "name" | "mode">;

async function addArchive(
  pack: Pack,
  path: string,
  place: (name: string) => Place | undefined,
): Promise<void> {
  const entries = extract();
  const copying = async () => {
    for await (const entry of entries) {
      const { name, type, size } = entry.header;
      const target = place(name.slice(name.indexOf("/") + 1));
      if (type !== "file" || target === undefined) {
        entry.resume();
        continue;
      }
      await new Promise<void>((resolve, reject) => {
        const done = (error?: Error | null) => (error ? reject(error) : resolve());
        entry.pipe(pack.entry({ ...target, size, mtime: EPOCH }, done));
      });
    }
  };
  try {
    await Promise.all([pipeline(createReadStream(path), createGunzip(), entries), copying()]);
  } catch (error) {
    // A damaged copy must not be met again.
    await rm(path, { force: true });
    throw error;
  }
}
