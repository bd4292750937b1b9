import { setTimeout as wait } from "node:timers/promises";
import type { LaunchId, Observation, Provider, Suspend } from "@soulbox/core";
import { type Cgroups, isFrozen, setFrozen } from "./cgroup.ts";
import { LocalError } from "./faults.ts";
import { readLaunch } from "./state.ts";

/** What pausing needs of the provider. */
interface Around {
  readonly cgroups: Cgroups;
  readonly begin: (signal: AbortSignal) => Promise<void>;
  readonly look: (launchId: LaunchId) => Promise<Observation>;
  readonly dirOf: (launchId: LaunchId) => string;
}

/**
 * Pausing by the kernel's freezer, or nothing where this process may not use it: SIGSTOP is no
 * substitute, since programs notice it and can be sent SIGCONT from inside.
 */
export function suspendOf(around: Around): Pick<Provider, "suspend"> {
  const { cgroups, begin, look, dirOf } = around;
  if (cgroups.parents.freezer === undefined) return {};

  const turn = async (launchId: LaunchId, frozen: boolean, signal: AbortSignal): Promise<void> => {
    await begin(signal);
    const { phase } = await look(launchId);
    const freezer = (await readLaunch(dirOf(launchId)))?.record?.freezer;
    if ((phase !== "running" && phase !== "paused") || freezer === undefined) {
      throw new LocalError("not_found", `There is no instance ${launchId} that could be paused.`);
    }
    await setFrozen(freezer, frozen);
    // Tasks in the middle of a system call stop at its end, most within a millisecond.
    for (
      let pauseMs = 1;
      (await isFrozen(freezer)) !== frozen;
      pauseMs = Math.min(2 * pauseMs, 50)
    ) {
      await wait(pauseMs, undefined, { signal });
      await setFrozen(freezer, frozen);
    }
  };

  const suspend: Suspend = {
    pause: ({ launchId }, signal) => turn(launchId, true, signal),
    async resume({ launchId }, signal) {
      await turn(launchId, false, signal);
      return look(launchId);
    },
  };
  return { suspend };
}
