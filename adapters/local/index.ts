import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import {
  type Cursor,
  type EpochMs,
  type LaunchId,
  type LaunchRequest,
  LIMITS,
  type Observation,
  type Provider,
  providerName,
} from "@soulbox/core";
import { groupsOf, isFrozen, makeGroups } from "./cgroup.ts";
import { removeLaunch } from "./end.ts";
import { classifyLocal, LocalError } from "./faults.ts";
import { enter } from "./launch.ts";
import { type LocalProbe, probeLocal } from "./probe.ts";
import { fstabOf } from "./rootfs.ts";
import { openSetup } from "./setup.ts";
import { isAlive, isLaunchId, launchesIn, readLaunch, reserve } from "./state.ts";
import { suspendOf } from "./suspend.ts";
import { prepareLocal } from "./templates.ts";
import { REGION, traitsOf } from "./traits.ts";
import { observe, recordOf } from "./translate.ts";

export { type LocalProbe, probeLocal } from "./probe.ts";

/** How sandboxes run on this machine without a container engine. */
export interface LocalOptions {
  /** Value of the label `soulbox.stage`: only launches that carry it are listed. */
  readonly stage: string;
  /** The agent's executable, bound read-only into every sandbox. */
  readonly agentPath: string;
  /** The server's data directory. State is kept in `local/` below it, mode 0700. */
  readonly dataDir: string;
  /** Takes one line for the operator. */
  readonly log: (line: string) => void;
  /**
   * False forbids setuid programs to give privileges, `sudo` for one. Default true: E2B's
   * templates have it. It works as root only, and if the host has it.
   */
  readonly sudo?: boolean;
  /** The present, for the age of what a crash left half made. Default: the system's clock. */
  readonly readNowMs?: () => EpochMs;
  /** What the machine permits. Default {@link probeLocal}, which takes some 50 ms. */
  readonly probe?: LocalProbe;
}

/** A launch that is under way in this process. */
interface Launching {
  readonly done: Promise<Observation>;
  /** Ends it, whatever it is at. */
  readonly stop: AbortController;
}

/**
 * Sandboxes from plain Linux namespaces, made by util-linux. All state is in files: an instance
 * is a directory named by its launch id, so launching is idempotent, and a server that is started
 * again finds what runs. What has ended meanwhile is removed before the first answer.
 *
 * On a machine that permits no sandboxes `traits.fit` refuses all, with the reason.
 *
 * @throws What Node throws when the data directory can't be written.
 */
export function local(options: LocalOptions): Provider {
  const { stage, log } = options;
  const probe = options.probe ?? probeLocal();
  const { identity, cgroups } = probe;
  const setup = openSetup(options, probe);
  const { stateDir, bootId } = setup;
  const launching = new Map<LaunchId, Launching>();
  const removing = new Map<LaunchId, Promise<void>>();
  let swept: Promise<void> | undefined;

  const dirOf = (launchId: LaunchId): string => join(stateDir, launchId);

  const look = async (launchId: LaunchId): Promise<Observation> => {
    // Only well-formed ids become paths; the others name nothing.
    const files = isLaunchId(launchId) ? await readLaunch(dirOf(launchId)) : undefined;
    const { claim, init, record } = files ?? {};
    const [inside, outside, frozen] = await Promise.all([
      init !== undefined && isAlive(init),
      typeof claim === "object" && isAlive(claim),
      record?.freezer !== undefined && isFrozen(record.freezer),
    ]);
    return observe({ launchId }, files, {
      inside,
      outside,
      frozen,
      sameBoot: record?.bootId === bootId,
    });
  };

  /** The stage of a launch, `undefined` when its record is damaged. */
  const stageOf = async (launchId: LaunchId): Promise<string | undefined> =>
    (await readLaunch(dirOf(launchId)))?.record?.labels["soulbox.stage"];

  const remove = (launchId: LaunchId): Promise<void> =>
    shared(removing, launchId, async () => {
      const launch = launching.get(launchId);
      launch?.stop.abort();
      await launch?.done.catch(() => undefined);
      if (isLaunchId(launchId)) await removeLaunch(dirOf(launchId), identity, bootId);
    });

  const start = async (request: LaunchRequest, stop: AbortSignal): Promise<Observation> => {
    const { launchId, resources, template } = request;
    const dir = dirOf(launchId);
    const runDir = setup.runDirOf(launchId);
    const groups = groupsOf(cgroups, launchId);
    const variant = setup.variantOf(template);
    const record = recordOf(request, { bootId, runDir, groups });
    const disk = await variant.diskOf(resources);
    const fstab = fstabOf(variant.mounts, variant.enter.root, runDir);
    if (!(await reserve(stateDir, record, fstab))) return look(launchId);
    try {
      await mkdir(runDir, { mode: 0o700, recursive: true });
      await makeGroups(cgroups, groups.dirs, resources);
      await enter(variant.enter, { dir, runDir, disk, cgroups: groups.dirs, request }, stop);
    } catch (error) {
      await removeLaunch(dir, identity, bootId);
      throw error;
    }
    return look(launchId);
  };

  /** Removes what ended while no server looked, launches of a crashed server among it. */
  const sweep = async (): Promise<void> => {
    for (const launchId of await launchesIn(stateDir)) {
      const { phase, detail } = await look(launchId);
      if (phase === "running" || phase === "paused") continue;
      // Nobody else would remove what has no readable stage.
      if (((await stageOf(launchId)) ?? stage) !== stage) continue;
      log(`local: removes what is left of ${launchId}: ${phase}, ${detail}`);
      await remove(launchId).catch((error: unknown) => {
        log(`local: can't remove ${launchId}: ${String(error)}`);
      });
    }
  };

  /** Every call's first step. */
  const begin = async (signal: AbortSignal): Promise<void> => {
    signal.throwIfAborted();
    swept ??= sweep().catch((error: unknown) => {
      swept = undefined;
      throw error;
    });
    await within(swept, signal);
  };

  return {
    name: providerName("local"),
    traits: traitsOf(probe, setup),
    async launch(request, signal) {
      await begin(signal);
      const { launchId, region } = request;
      if (region !== REGION || !isLaunchId(launchId)) {
        throw new LocalError("invalid", `There is no place for ${launchId} in ${region}.`);
      }
      if (probe.refused !== undefined) throw new LocalError("denied", probe.refused);
      let launch = launching.get(launchId);
      if (launch === undefined) {
        const stop = new AbortController();
        const done = start(request, stop.signal).finally(() => launching.delete(launchId));
        launch = { done, stop };
        launching.set(launchId, launch);
      }
      return within(launch.done, signal);
    },
    async inspect({ launchId }, signal) {
      await begin(signal);
      return look(launchId);
    },
    async list(region, cursor, signal) {
      await begin(signal);
      if (region !== REGION) return { items: [], next: undefined };
      const items: Observation[] = [];
      for (const launchId of await launchesIn(stateDir)) {
        // The cursor names the last one seen, so that a removal in between hides none.
        if (cursor !== undefined && launchId <= (cursor as string)) continue;
        if ((await stageOf(launchId)) !== stage) continue;
        signal.throwIfAborted();
        const last = items.at(-1);
        if (items.length === LIMITS.pageDefault && last !== undefined) {
          return { items, next: last.launchId as string as Cursor };
        }
        items.push(await look(launchId));
      }
      return { items, next: undefined };
    },
    async terminate({ launchId }, signal) {
      await begin(signal);
      await within(remove(launchId), signal);
    },
    ...suspendOf({ cgroups, begin, look, dirOf }),
    preparing: {
      prepare: (template) => prepareLocal(template, setup.findVersion, setup.lentNode),
    },
    classify: classifyLocal,
  };
}

/** Waits for work that goes on if the caller gives up. */
async function within<Value>(work: Promise<Value>, signal: AbortSignal): Promise<Value> {
  let giveUp = () => {};
  const aborted = new Promise<never>((_, reject) => {
    giveUp = () => reject(signal.reason);
    if (signal.aborted) giveUp();
    signal.addEventListener("abort", giveUp, { once: true });
  });
  // What is abandoned may fail later, with nobody left to hear it.
  work.catch(() => undefined);
  return Promise.race([work, aborted]).finally(() => signal.removeEventListener("abort", giveUp));
}

/** Does a piece of work once for all who ask while it is under way. */
function shared(
  under: Map<LaunchId, Promise<void>>,
  launchId: LaunchId,
  work: () => Promise<void>,
): Promise<void> {
  const known = under.get(launchId);
  if (known !== undefined) return known;
  const promise = work().finally(() => under.delete(launchId));
  under.set(launchId, promise);
  return promise;
}
