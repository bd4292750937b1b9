import type { LaunchId, LaunchRequest, Observation } from "@soulbox/core";
import type { Container, ContainerInspectInfo } from "dockerode";
import { limitBandwidth } from "./bandwidth.ts";
import type { Engine } from "./engine.ts";
import { DockerError, isImageMissing, isNetworkMissing, statusOf, wordsOf } from "./faults.ts";
import type { Images } from "./images.ts";
import { readInspect } from "./read.ts";
import { abortable, createStartSlots } from "./slots.ts";
import { type ContainerPlan, containerName, createOptions, observationOf } from "./translate.ts";

/** Starts containers and knows which starts are under way in this process. */
export interface Launcher {
  launch(request: LaunchRequest, signal: AbortSignal): Promise<Observation>;
  /** Stops starts of that launch that are under way here, and waits until they let go. */
  stop(launchId: LaunchId): Promise<void>;
}

/** What {@link createLauncher} needs. */
export interface LauncherOptions {
  readonly engine: Engine;
  readonly images: Pick<Images, "prepare" | "forget">;
  readonly stage: string;
  /** The engine's network for sandboxes. */
  readonly network: string;
  readonly agentPath: string;
  readonly sudo: boolean;
}

/** Source: measured 2026-11-25: above four at a time the engine only queues. */
const STARTS_AT_ONCE = 4;

/** One step at the engine may take this long, milliseconds, whatever its caller waits for. */
const STEP_MS_MAX = 60_000;

/** How often to look for a container whose name is taken, but which isn't there yet, milliseconds. */
const NAME_POLL_MS = 10;

/** See {@link Launcher}. */
export function createLauncher(options: LauncherOptions): Launcher {
  const { engine, images, stage } = options;
  const { docker } = engine;
  const slots = createStartSlots(STARTS_AT_ONCE);
  const underWay = new Map<Promise<unknown>, { launchId: LaunchId; stop: AbortController }>();

  const imageOf = (request: LaunchRequest): string => {
    const preparation = images.prepare(request.template);
    if (preparation.state === "ready") return preparation.image;
    throw new DockerError(
      "unavailable",
      `The image is ${preparation.state}: ${preparation.detail}`,
    );
  };

  /** Makes the container, or takes the one that another try made. */
  const obtain = async (request: LaunchRequest, plan: ContainerPlan, signal: AbortSignal) => {
    const made = createOptions(request, plan);
    const untilMs = performance.now() + STEP_MS_MAX;
    for (;;) {
      const container = await step((signalled) =>
        docker.createContainer({ ...made, ...signalled }),
      ).catch((error: unknown) => unless(isNameTaken, error));
      if (container !== undefined) return { container, state: "created" };
      const existing = docker.getContainer(plan.name);
      const found = await step((signalled) => existing.inspect(signalled)).catch((error: unknown) =>
        unless(isMissing, error),
      );
      if (found !== undefined) return { container: existing, state: found.State.Status };
      signal.throwIfAborted();
      if (performance.now() > untilMs) {
        throw new DockerError("timeout", `The name ${plan.name} stays taken by no container.`);
      }
      await new Promise((resolve) => setTimeout(resolve, NAME_POLL_MS));
    }
  };

  const begin = async (container: Container, request: LaunchRequest, plan: ContainerPlan) => {
    const start = () =>
      step((signalled) => container.start(signalled)).catch((error: unknown) =>
        unless(isStarted, error),
      );
    try {
      await start();
    } catch (error) {
      if (!isNetworkMissing(error)) throw error;
      // Somebody removed the bridge: with it back, this container can start.
      engine.forgetNetwork();
      await engine.attach(request, plan.name, plan.image);
      await start();
    }
  };

  const shape = async (request: LaunchRequest, plan: ContainerPlan, info: ContainerInspectInfo) => {
    const { bandwidthKbit } = request.network;
    if (bandwidthKbit === undefined || plan.socketDir !== undefined) return;
    if (info.State.Pid > 0) await limitBandwidth(info.State.Pid, bandwidthKbit);
  };

  const run = async (request: LaunchRequest, signal: AbortSignal): Promise<Observation> => {
    const image = imageOf(request);
    const name = containerName(stage, request.launchId);
    await engine.load();
    signal.throwIfAborted();
    return slots(async () => {
      const socketDir = await engine.attach(request, name, image);
      signal.throwIfAborted();
      const facts = await engine.load();
      const { agentPath, sudo, network } = options;
      const plan = { name, image, network, stage, agentPath, socketDir, sudo, facts };
      const { container, state } = await obtain(request, plan, signal).catch((error: unknown) => {
        if (isImageMissing(error)) images.forget(image);
        throw error;
      });
      signal.throwIfAborted();
      // What has run and ended is not started again: this launch is over.
      if (state === "created" || state === "configured") await begin(container, request, plan);
      const info = await step((signalled) => container.inspect(signalled));
      await shape(request, plan, info);
      return observationOf(request.launchId, readInspect(info, undefined));
    }, signal);
  };

  return {
    launch(request, signal) {
      if (signal.aborted) return Promise.reject(signal.reason);
      const stop = new AbortController();
      // The caller's signal ends the caller's wait. A step that the engine has begun is seen to
      // its end, so that its slot is held as long as the engine works.
      const work = run(request, AbortSignal.any([signal, stop.signal]));
      underWay.set(work, { launchId: request.launchId, stop });
      const done = () => underWay.delete(work);
      work.then(done, done);
      return abortable(work, signal);
    },
    async stop(launchId) {
      const mine = [...underWay].filter(([, it]) => it.launchId === launchId);
      const reason = new DOMException("The instance is being terminated.", "AbortError");
      for (const [, it] of mine) it.stop.abort(reason);
      await Promise.allSettled(mine.map(([work]) => work));
    },
  };
}

/** One call to the engine, with a bound of its own. */
function step<T>(call: (options: { readonly abortSignal: AbortSignal }) => Promise<T>): Promise<T> {
  const abortSignal = AbortSignal.timeout(STEP_MS_MAX);
  return abortable(call({ abortSignal }), abortSignal);
}

function isNameTaken(error: unknown): boolean {
  return statusOf(error) === 409 || /already in use/i.test(wordsOf(error));
}

function isMissing(error: unknown): boolean {
  return statusOf(error) === 404;
}

/** The engine answers "not modified" to a second start. */
function isStarted(error: unknown): boolean {
  return statusOf(error) === 304;
}

function unless(isExpected: (error: unknown) => boolean, error: unknown): undefined {
  if (isExpected(error)) return undefined;
  throw error;
}
