import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import type Dockerode from "dockerode";
import { pack as createPack, type Pack } from "tar-stream";
import { progressOf } from "./base-image.ts";
import { addNode, fetchNpmPackage, type NodeArchives } from "./npm-package.ts";

/** Part of every hash: raised when this program changes what goes into a context. */
const RECIPE = 1;

/** Image that the Dockerfiles without a parent start from. */
export const DEBIAN_IMAGE = "debian:trixie-slim";

/** A Dockerfile's folder with its arguments, and the image name that its content gives it. */
export interface Recipe {
  /** Template's id, or the folder's name for what only serves as a parent. */
  readonly id: string;
  /** `soulbox/<id>:<hash>`. */
  readonly image: string;
  readonly args: Readonly<Record<string, string>>;
  readonly files: readonly RecipeFile[];
  /** What it starts from; undefined for {@link DEBIAN_IMAGE}. */
  readonly parent: Recipe | undefined;
}

interface RecipeFile {
  readonly name: string;
  readonly content: Buffer;
}

/**
 * Reads a folder into a recipe, its parents with it. The hash covers every file, the arguments,
 * the parent's hash and the Debian image's name, so content alone decides about a new build.
 *
 * A Dockerfile names its parent by the line `ARG PARENT=soulbox/<folder>`.
 *
 * @throws Error when the folder can't be read.
 */
export function readRecipe(
  imagesDir: string,
  { id, folder, args }: Pick<Recipe, "id" | "args"> & { readonly folder: string },
): Recipe {
  const files = readdirSync(join(imagesDir, folder), { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort()
    .map((path) => ({
      name: path.slice(join(imagesDir, folder).length + 1),
      content: readFileSync(path),
    }));
  const dockerfile = files.find((file) => file.name === "Dockerfile")?.content.toString() ?? "";
  const parentFolder = /^ARG PARENT=soulbox\/([\w-]+)$/m.exec(dockerfile)?.[1];
  const parent =
    parentFolder === undefined
      ? undefined
      : readRecipe(imagesDir, { id: parentFolder, folder: parentFolder, args: {} });

  const hash = createHash("sha256");
  hash.update(JSON.stringify([RECIPE, parent?.image ?? DEBIAN_IMAGE, Object.entries(args).sort()]));
  for (const file of files) {
    hash.update(JSON.stringify([file.name, file.content.length])).update(file.content);
  }
  const image = `soulbox/${id}:${hash.digest("hex").slice(0, HASH_LENGTH)}`;
  return { id, image, args, files, parent };
}

const HASH_LENGTH = 12;

/** What a build needs beside its recipe. */
export interface BuildOptions {
  readonly docker: Dockerode;
  /** From {@link fetchNode}. */
  readonly archives: NodeArchives | undefined;
  /** Gets short lines for people, such as `step 3/9 RUN …`. */
  readonly onProgress: (line: string) => void;
}

/**
 * Builds a recipe, whose parent is already there, and gives the image its name.
 *
 * @throws Error with the step that failed, the engine's words and the last lines of output.
 */
export async function buildRecipe(
  recipe: Recipe,
  { docker, archives, onProgress }: BuildOptions,
  signal: AbortSignal,
): Promise<void> {
  const context = createPack();
  const body = Readable.from(context);
  const broken = new AbortController();
  // A context that can't be completed ends the request: the engine would wait for the rest.
  const filling = fillContext(context, recipe, archives).catch((error) => broken.abort(error));
  let step = "";
  const lines: string[] = [];
  try {
    const stream = await docker.buildImage(body, {
      t: recipe.image,
      buildargs: {
        ...recipe.args,
        ...(recipe.parent === undefined ? {} : { PARENT: recipe.parent.image }),
      },
      labels: { "soulbox.template": recipe.id },
      rm: true,
      forcerm: true,
      abortSignal: AbortSignal.any([signal, broken.signal]),
    });
    for await (const message of progressOf(stream)) {
      // Lines that begin with an arrow are the builder's own book-keeping.
      for (const line of message.split("\n").filter((each) => !/^\s*(--->|$)/.test(each))) {
        const found = /^step (\d+\/\d+) ?: (.*)/i.exec(line);
        if (found !== null) {
          step = `step ${found[1]} ${found[2]}`.replace(/\s+/g, " ").slice(0, STEP_LENGTH_MAX);
          onProgress(step);
          lines.length = 0;
        } else lines.push(shorten(line.trimEnd()));
        if (lines.length > LINES_MAX) lines.shift();
      }
    }
  } catch (error) {
    signal.throwIfAborted();
    const cause: unknown = broken.signal.aborted ? broken.signal.reason : error;
    const reason = cause instanceof Error ? cause.message : String(cause);
    const tail = lines.length === 0 ? "" : `\n${lines.join("\n")}`;
    throw new Error(`failed at ${step || "its context"}: ${shorten(reason)}${tail}`, { cause });
  } finally {
    body.destroy();
    context.destroy();
    await filling;
  }
}

/** Both ends of a text: engines put the whole command before the reason. */
function shorten(text: string): string {
  if (text.length <= LINE_LENGTH_MAX) return text;
  return `${text.slice(0, LINE_LENGTH_MAX / 2)} … ${text.slice(-LINE_LENGTH_MAX / 2)}`;
}

const STEP_LENGTH_MAX = 90;
const LINE_LENGTH_MAX = 300;
const LINES_MAX = 10;

/** What {@link fetchNode} needs. */
export interface FetchOptions {
  readonly docker: Dockerode;
  /** Folder for archives from npm. */
  readonly cacheDir: string;
  /** Gets short lines for people. */
  readonly onProgress: (line: string) => void;
}

/**
 * The archives of Node and npm for the engine's architecture, when the arguments `NODE_MAJOR` and
 * `NPM_MAJOR` ask for them.
 *
 * @throws Error when npm has none for it, or can't be asked.
 */
export async function fetchNode(
  { args }: Recipe,
  { docker, cacheDir, onProgress }: FetchOptions,
  signal: AbortSignal,
): Promise<NodeArchives | undefined> {
  const { NODE_MAJOR, NPM_MAJOR } = args;
  if (NODE_MAJOR === undefined || NPM_MAJOR === undefined) return undefined;
  const { Arch } = await docker.version();
  const architecture = new Map([
    ["amd64", "x64"],
    ["arm64", "arm64"],
  ]).get(Arch);
  if (architecture === undefined) throw new Error(`npm has no Node for the architecture ${Arch}`);
  const node = { name: `node-linux-${architecture}`, version: NODE_MAJOR, cacheDir };
  onProgress(`fetching ${node.name}@${NODE_MAJOR} and npm@${NPM_MAJOR}`);
  return {
    node: await fetchNpmPackage(node, signal),
    npm: await fetchNpmPackage({ name: "npm", version: NPM_MAJOR, cacheDir }, signal),
  };
}

async function fillContext(
  context: Pack,
  recipe: Recipe,
  archives: NodeArchives | undefined,
): Promise<void> {
  for (const { name, content } of recipe.files) {
    context.entry({ name, mtime: new Date(0) }, content);
  }
  if (archives !== undefined) await addNode(context, archives);
  context.finalize();
}
