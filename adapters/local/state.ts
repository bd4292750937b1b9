import { constants } from "node:fs";
import {
  mkdir,
  mkdtemp,
  open,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  writeFile,
} from "node:fs/promises";
import { join } from "node:path";
import { type EpochMs, epochMs, type LaunchId, parseLaunchId } from "@soulbox/core";
import { hasErrno } from "./faults.ts";

/**
 * The directory of a launch is the instance: made whole and renamed into place before anything
 * starts, removed after everything has ended. In it:
 *
 * - `launch.json`, the {@link LaunchRecord}
 * - `fstab`, what the sandbox mounts
 * - `claim`, made exclusively by the launched process with its own line of /proc/self/stat, or by
 *   a server that gives the launch up
 * - `init`, the same line of the first process inside, as the host numbers it
 * - `ending`, present from the first try to terminate
 * - `log`, what went wrong on the way in
 * - `run`, where the agent listens; a file system of its own where the server is root
 */
export interface LaunchRecord {
  readonly launchId: LaunchId;
  readonly labels: Readonly<Record<string, string>>;
  /** Process ids mean nothing after a restart of the machine. */
  readonly bootId: string;
  /** Directory with the agent's socket, as the host sees it. */
  readonly runDir: string;
  /** Control groups of the sandbox, absolute paths. */
  readonly cgroups: readonly string[];
  /** The one of them that can freeze; absent when none can. */
  readonly freezer?: string;
}

/** One process for certain: a reused pid has another start. */
export interface ProcessName {
  readonly pid: number;
  /** Clock ticks from the machine's start, verbatim. */
  readonly start: string;
}

/** What the files of a launch say. */
export interface LaunchFiles {
  /** `undefined` when the file is damaged: then only removal is left. */
  readonly record: LaunchRecord | undefined;
  /** `void` when a server has given the launch up. */
  readonly claim: ProcessName | "void" | undefined;
  readonly init: ProcessName | undefined;
  /** When the first process inside began. */
  readonly startedAtMs: EpochMs | undefined;
  readonly isEnding: boolean;
}

const VOID = "void";

/** What is half made, and whose: a crash leaves it, and the next server removes it. */
export const DRAFT_PREFIX = `.draft-${process.pid}-`;

/** Reads a line of `/proc/<pid>/stat`; the name in parentheses may hold anything. */
export function parseStat(line: string): (ProcessName & { readonly state: string }) | undefined {
  const pid = Number.parseInt(line, 10);
  const fields = line.slice(line.lastIndexOf(")") + 2).split(" ");
  const [state, start] = [fields[0], fields[19]];
  if (!(pid > 0) || state === undefined || start === undefined) return undefined;
  return { pid, start: start.trim(), state };
}

/** True while that very process runs; one that has ended but isn't reaped doesn't. */
export async function isAlive(name: ProcessName): Promise<boolean> {
  const line = await readOrUndefined(`/proc/${name.pid}/stat`);
  const seen = line === undefined ? undefined : parseStat(line);
  if (seen === undefined || seen.start !== name.start) return false;
  return seen.state !== "Z" && seen.state !== "X";
}

/** The text of a file, `undefined` when it (or its process) doesn't exist. */
export async function readOrUndefined(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if (hasErrno(error, "ENOENT", "ESRCH", "ENOTDIR")) return undefined;
    throw error;
  }
}

/**
 * Makes the directory of a launch, whole or not at all.
 *
 * @returns False when there is one already.
 */
export async function reserve(
  stateDir: string,
  record: LaunchRecord,
  fstab: string,
): Promise<boolean> {
  const draft = await mkdtemp(join(stateDir, DRAFT_PREFIX));
  await mkdir(join(draft, "run"), { mode: 0o700 });
  await writeFile(join(draft, "fstab"), fstab, { mode: 0o600 });
  await writeFile(join(draft, "launch.json"), JSON.stringify(record), { mode: 0o600 });
  try {
    await rename(draft, join(stateDir, record.launchId));
    return true;
  } catch (error) {
    await rm(draft, { recursive: true, force: true });
    if (hasErrno(error, "EEXIST", "ENOTEMPTY")) return false;
    throw error;
  }
}

/** What is known of a launch, `undefined` when there is no such directory. */
export async function readLaunch(dir: string): Promise<LaunchFiles | undefined> {
  const [text, claim, init, ending, dirStat] = await Promise.all([
    readOrUndefined(join(dir, "launch.json")),
    readOrUndefined(join(dir, "claim")),
    readOrUndefined(join(dir, "init")),
    statOrUndefined(join(dir, "ending")),
    statOrUndefined(dir),
  ]);
  if (dirStat === undefined) return undefined;
  const started = init === undefined ? undefined : await statOrUndefined(join(dir, "init"));
  return {
    record: text === undefined ? undefined : parseRecord(text),
    claim: claim?.trim() === VOID ? VOID : parseStat(claim ?? ""),
    init: parseStat(init ?? ""),
    startedAtMs: started === undefined ? undefined : epochMs(started.mtimeMs),
    isEnding: ending !== undefined,
  };
}

/** Ids of the launches that have a directory, sorted. */
export async function launchesIn(stateDir: string): Promise<readonly LaunchId[]> {
  const names = await readdir(stateDir);
  return names.filter(isLaunchId).toSorted();
}

/** Marks the launch as ending, and takes it from a launched process that hasn't begun. */
export async function markEnding(dir: string): Promise<void> {
  try {
    await writeFile(join(dir, "ending"), "");
    const flags = constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY;
    const file = await open(join(dir, "claim"), flags, 0o600);
    await file.writeFile(VOID).finally(() => file.close());
  } catch (error) {
    if (!hasErrno(error, "EEXIST", "ENOENT")) throw error;
  }
}

/** True for a well-formed launch id: only such names become paths. */
export function isLaunchId(text: string): text is LaunchId {
  return parseLaunchId(text) !== undefined;
}

function parseRecord(text: string): LaunchRecord | undefined {
  let value: Partial<LaunchRecord>;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  const { launchId, labels, bootId, runDir, cgroups } = value ?? {};
  const isWhole =
    typeof launchId === "string" &&
    typeof labels === "object" &&
    typeof bootId === "string" &&
    typeof runDir === "string" &&
    Array.isArray(cgroups);
  return isWhole ? (value as LaunchRecord) : undefined;
}

async function statOrUndefined(path: string) {
  try {
    return await stat(path);
  } catch (error) {
    if (hasErrno(error, "ENOENT", "ENOTDIR")) return undefined;
    throw error;
  }
}
