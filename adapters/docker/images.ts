import type { Template } from "@soulbox/core";
import type Dockerode from "dockerode";
import { ensureBaseImage, hasImage } from "./base-image.ts";
import { buildRecipe, DEBIAN_IMAGE, fetchNode, type Recipe, readRecipe } from "./image-build.ts";
import { abortable, createStartSlots } from "./slots.ts";

/** What can be said about a template's image at this moment. */
export type Preparation =
  | { readonly state: "ready"; readonly image: string }
  | { readonly state: "building"; readonly retryAfterMs: number; readonly detail: string }
  | { readonly state: "unavailable"; readonly retryAfterMs: number; readonly detail: string }
  | { readonly state: "failed"; readonly detail: string };

/** Images of templates: built at first need, found again by the hash of their content. */
export interface Images {
  /**
   * Learns which images the engine already has, so that the first {@link prepare} of each is
   * `ready` at once. Call it at start and when the engine came back.
   *
   * @throws what the engine's client threw.
   */
  load(): Promise<void>;
  /** Answers from memory; starts a build in the background when none is known to be there. */
  prepare(template: Template): Preparation;
  /**
   * Waits until the image is there and returns its name. An abort ends the wait, not the build,
   * which others may share.
   *
   * @param onProgress Gets short lines for people.
   * @throws Error with the failing step, also for a failure of the last 30 s without a new try.
   */
  ensure(
    template: Template,
    onProgress: (line: string) => void,
    signal: AbortSignal,
  ): Promise<string>;
  /** Tells that an image vanished from the engine; the next need looks again, parents included. */
  forget(image: string): void;
  /** Ends running builds and waits for their end. */
  close(): Promise<void>;
}

/** What {@link createImages} needs. */
export interface ImagesOptions {
  readonly docker: Dockerode;
  /** Folder that holds one folder per Dockerfile. */
  readonly imagesDir: string;
  /** Folder for what builds fetch from npm; made when missing. */
  readonly cacheDir: string;
  /** Gets one line per step and result. */
  readonly log: (line: string) => void;
  /** Longest time for one build, milliseconds. Default 600,000: a slow mirror, not a hung one. */
  readonly deadlineMs?: number;
  /** How long a failure is answered without a new try, milliseconds. Default 30,000. */
  readonly failureMs?: number;
  /** A clock that never goes back, milliseconds. Default: the process's. */
  readonly nowMs?: () => number;
}

/** Builds that run at once: apt and the engine's disk are the limit, not processors. */
const BUILDS_MAX = 2;

/** When to ask again for an image that is being built, milliseconds. */
const RETRY_AFTER_MS = 2000;

interface Build {
  detail: string;
  readonly done: Promise<void>;
  readonly listeners: Set<(line: string) => void>;
}

interface Failure {
  readonly error: Error;
  readonly atMs: number;
}

/** True for a failure to connect to the engine at all. */
function isUnreachable(thrown: unknown): thrown is Error {
  return thrown instanceof Error && "syscall" in thrown && thrown.syscall === "connect";
}

/** The images of one engine. Memory only: the engine itself is asked at first need. */
export function createImages(options: ImagesOptions): Images {
  const { docker, imagesDir, log } = options;
  const nowMs = options.nowMs ?? (() => performance.now());
  const failureMs = options.failureMs ?? 30_000;
  const deadlineMs = options.deadlineMs ?? 600_000;
  const closing = new AbortController();
  const withSlot = createStartSlots(BUILDS_MAX);
  const recipes = new Map<string, Recipe>();
  const ready = new Set<string>();
  const builds = new Map<string, Build>();
  const failures = new Map<string, Failure>();

  function reasonOf(thrown: unknown): string {
    if (!(thrown instanceof Error)) return String(thrown);
    // What AbortSignal.timeout() throws says neither what nor how long.
    return thrown.name === "TimeoutError"
      ? `not done within ${deadlineMs / 1000} s`
      : thrown.message;
  }

  function recipeOf(template: Template): Recipe {
    const key = JSON.stringify([template.id, template.folder, template.args]);
    const recipe = recipes.get(key) ?? readRecipe(imagesDir, template);
    recipes.set(key, recipe);
    return recipe;
  }

  function failureOf(image: string): Failure | undefined {
    const failure = failures.get(image);
    if (failure === undefined || nowMs() - failure.atMs < failureMs) return failure;
    failures.delete(image);
    return undefined;
  }

  /** The running build of an image, started when there is none. */
  function start(recipe: Recipe): Build {
    const running = builds.get(recipe.image);
    if (running !== undefined) return running;

    const listeners = new Set<(line: string) => void>();
    const report = (line: string) => {
      build.detail = `building ${recipe.id}: ${line}`;
      for (const listener of listeners) listener(line);
    };
    const done = Promise.resolve()
      .then(() => make(recipe, report))
      .then(
        () => void ready.add(recipe.image),
        (thrown: unknown) => {
          const reason = reasonOf(thrown);
          const error = new Error(`building ${recipe.id}: ${reason}`, { cause: thrown });
          failures.set(recipe.image, { error, atMs: nowMs() });
          log(error.message);
          throw error;
        },
      )
      .finally(() => builds.delete(recipe.image));
    done.catch(() => {});
    const build: Build = { detail: `building ${recipe.id}`, done, listeners };
    builds.set(recipe.image, build);
    return build;
  }

  async function make(recipe: Recipe, report: (line: string) => void): Promise<void> {
    if (await hasImage(docker, recipe.image)) return;
    const startedMs = nowMs();
    const say = (line: string) => {
      log(`building ${recipe.id}: ${line}`);
      report(line);
    };
    const ended = new AbortController();
    const signal = AbortSignal.any([closing.signal, ended.signal, AbortSignal.timeout(deadlineMs)]);
    const { cacheDir } = options;
    const fetching = fetchNode(recipe, { docker, cacheDir, onProgress: say }, signal);
    try {
      const [archives] = await Promise.all([fetching, ensureParent(recipe, say, report, signal)]);
      await withSlot(
        () => buildRecipe(recipe, { docker, archives, onProgress: say }, signal),
        signal,
      );
    } finally {
      ended.abort();
      await fetching.catch(() => {});
    }
    if (!(await hasImage(docker, recipe.image))) throw new Error("the build ended early");
    say(`done in ${((nowMs() - startedMs) / 1000).toFixed(1)} s`);
  }

  async function ensureParent(
    { parent }: Recipe,
    say: (line: string) => void,
    report: (line: string) => void,
    signal: AbortSignal,
  ): Promise<void> {
    if (parent === undefined) return ensureBaseImage(docker, DEBIAN_IMAGE, say, signal);
    // Memory of the parent may be stale, and a build without its parent fails strangely.
    ready.delete(parent.image);
    await wait(parent, (line) => report(`${parent.id}: ${line}`), signal);
  }

  async function wait(
    recipe: Recipe,
    onProgress: (line: string) => void,
    signal: AbortSignal,
  ): Promise<void> {
    signal.throwIfAborted();
    if (ready.has(recipe.image)) return;
    const failure = failureOf(recipe.image);
    if (failure !== undefined) throw failure.error;
    const build = start(recipe);
    build.listeners.add(onProgress);
    try {
      await abortable(build.done, signal);
    } finally {
      build.listeners.delete(onProgress);
    }
  }

  return {
    async load() {
      const found = await docker.listImages();
      ready.clear();
      for (const name of found.flatMap(({ RepoTags }) => RepoTags ?? [])) {
        // Podman puts a registry before names that have none.
        const image = /^(?:localhost\/|docker\.io\/)?(soulbox\/[^/]+)$/.exec(name)?.[1];
        if (image !== undefined) ready.add(image);
      }
    },
    prepare(template) {
      const recipe = recipeOf(template);
      if (ready.has(recipe.image)) return { state: "ready", image: recipe.image };
      const failure = failureOf(recipe.image);
      if (failure !== undefined) {
        const { cause, message } = failure.error;
        if (!isUnreachable(cause)) return { state: "failed", detail: message };
        // That the engine was away says nothing about the template: it is looked for again at once.
        start(recipe);
        const detail = `The container engine can't be reached: ${cause.message}.`;
        return { state: "unavailable", retryAfterMs: RETRY_AFTER_MS, detail };
      }
      const { detail } = start(recipe);
      return { state: "building", retryAfterMs: RETRY_AFTER_MS, detail };
    },
    async ensure(template, onProgress, signal) {
      const recipe = recipeOf(template);
      await wait(recipe, (line) => onProgress(`building ${recipe.id}: ${line}`), signal);
      return recipe.image;
    },
    forget(image) {
      ready.delete(image);
    },
    async close() {
      closing.abort(new Error("the server is stopping"));
      await Promise.allSettled([...builds.values()].map((build) => build.done));
    },
  };
}
