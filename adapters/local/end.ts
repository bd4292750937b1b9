import { execFile } from "node:child_process";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { promisify } from "node:util";
import { isFrozen, membersOf, removeGroup, setFrozen } from "./cgroup.ts";
import { hasErrno, LocalError } from "./faults.ts";
import { TOOL_ENV, unshareArgs } from "./probe.ts";
import type { RootfsPlan } from "./rootfs.ts";
import { isAlive, type LaunchFiles, markEnding, type ProcessName, readLaunch } from "./state.ts";

const run = promisify(execFile);

/** Killed processes are gone within milliseconds; a busy host may need seconds for their memory. */
const END_MS_MAX = 15_000;
/** `umount` answers at once: lazily, it waits for nobody. */
const TOOL_MS_MAX = 10_000;

/**
 * Ends everything that belongs to a launch and removes it: processes, mount, groups, and the
 * directory last, so that whatever is interrupted can be repeated.
 *
 * @throws LocalError timeout when something survives its SIGKILL for {@link END_MS_MAX}.
 */
export async function removeLaunch(
  dir: string,
  identity: RootfsPlan["identity"],
  bootId: string,
): Promise<void> {
  if ((await readLaunch(dir)) === undefined) return;
  await markEnding(dir);

  let files = await readLaunch(dir);
  for (let waited = 0, pause = 1; files !== undefined; pause = Math.min(2 * pause, 50)) {
    if (!(await kill(files, bootId)) && (await removeGroups(files))) break;
    if (waited > END_MS_MAX) {
      throw new LocalError("timeout", `Processes of ${dir} survive SIGKILL for ${waited} ms.`);
    }
    await wait(pause);
    waited += pause;
    // The first process inside may have come to be after the last look.
    files = await readLaunch(dir);
  }
  const { record } = files ?? {};
  if (identity === "root") await unmount(record?.runDir ?? join(dir, "run"));
  if (record !== undefined) await removeTree(record.runDir, identity);
  await removeTree(dir, identity);
}

/** Sends SIGKILL to all that lives. True when there was anything. */
async function kill({ record, claim, init }: LaunchFiles, bootId: string): Promise<boolean> {
  const named = [claim, init].filter((it): it is ProcessName => typeof it === "object");
  let any = false;
  // Ids from before a restart of the machine name strangers.
  if (record !== undefined && record.bootId === bootId) {
    for (const name of named) {
      if (!(await isAlive(name))) continue;
      any = true;
      sendKill(name.pid);
    }
  }
  for (const group of record?.cgroups ?? []) {
    for (const pid of await membersOf(group)) {
      any = true;
      sendKill(pid);
    }
  }
  const { freezer } = record ?? {};
  // The dead stay while they are frozen.
  if (any && freezer !== undefined && (await isFrozen(freezer))) await setFrozen(freezer, false);
  return any;
}

function sendKill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    if (!hasErrno(error, "ESRCH")) throw error;
  }
}

async function removeGroups({ record }: LaunchFiles): Promise<boolean> {
  const removed = await Promise.all((record?.cgroups ?? []).map(removeGroup));
  return removed.every(Boolean);
}

async function unmount(path: string): Promise<void> {
  try {
    await run("umount", ["-n", "-l", path], { env: TOOL_ENV, timeout: TOOL_MS_MAX });
  } catch (error) {
    // 32: not mounted, or not there (umount(8)).
    if (!(error instanceof Error && "code" in error && error.code === 32)) throw error;
  }
}

/** Removes a directory; where it holds files of the sandbox's shifted users, as their root. */
async function removeTree(path: string, identity: RootfsPlan["identity"]): Promise<void> {
  try {
    await rm(path, { recursive: true, force: true });
  } catch (error) {
    if (identity !== "mapped" || !hasErrno(error, "EACCES", "EPERM", "ENOTEMPTY")) throw error;
    const args = [...unshareArgs(identity), "rm", "-rf", path];
    await run("unshare", args, { env: TOOL_ENV, timeout: TOOL_MS_MAX });
  }
}
