import { createHash } from "node:crypto";
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  rmSync,
  statfsSync,
} from "node:fs";
import { join, resolve } from "node:path";
import { type EpochMs, epochMs, type LaunchId, type Resources, type Template } from "@soulbox/core";
import { baseImages, type DiskKind, diskKindIn, tmpfsOptions } from "./disk.ts";
import { LocalError } from "./faults.ts";
import type { Disk, EnterPlan } from "./launch.ts";
import { etcNames, type FilterLoader, type LocalProbe, textOf, usrMounts } from "./probe.ts";
import { type Mount, mountsOf } from "./rootfs.ts";
import { seccompFilter } from "./seccomp.ts";
import { skeletonOf, writeSkeleton } from "./skeleton.ts";
import { type FindVersion, hostVersions, type LentNode, lentNode, nodeFor } from "./templates.ts";
import { SOCKET_PATH_MAX } from "./translate.ts";

/** What is decided once, when the adapter opens. */
export interface Setup {
  /** Directory of the launches' directories. */
  readonly stateDir: string;
  /** Names the machine's current run. */
  readonly bootId: string;
  readonly filter: FilterLoader | undefined;
  readonly hasSudo: boolean;
  readonly diskKind: DiskKind;
  /** Size of the disk that the data directory is on. */
  readonly diskMibMax: number;
  readonly findVersion: FindVersion;
  readonly lentNode: LentNode | undefined;
  /** Where the agent of a launch listens, as the host sees it. */
  runDirOf(launchId: LaunchId): string;
  /** How the sandboxes of a template are mounted and entered. */
  variantOf(template: Template): Variant;
}

/** Sandboxes with, or without, a lent Node. */
export interface Variant {
  readonly mounts: readonly Mount[];
  readonly enter: EnterPlan;
  /** Makes ready what a sandbox's disk is made of. */
  diskOf(resources: Resources): Promise<Disk>;
}

/** Length of the longest launch id: 32 of the sandbox's, a dash, 9 digits. */
const LAUNCH_ID_LENGTH_MAX = 42;

/**
 * Makes the adapter's directories.
 *
 * @throws What Node throws when `dataDir` can't be written.
 */
export function openSetup(
  options: {
    readonly agentPath: string;
    readonly dataDir: string;
    readonly sudo?: boolean;
    readonly readNowMs?: () => EpochMs;
  },
  probe: LocalProbe,
): Setup {
  const { identity, filterLoaders } = probe;
  const stateDir = resolve(options.dataDir, "local");
  const root = join(stateDir, ".root");
  mkdirSync(root, { recursive: true });
  // Other users of the host have no business at the agents' sockets.
  chmodSync(stateDir, 0o700);
  removeDrafts(stateDir, options.readNowMs?.() ?? epochMs(Date.now()));

  const wantsSudo = probe.hasSudo && options.sudo !== false;
  // Of the two, the filter weighs more: sudo only where something can load it beside sudo.
  const hasSudo = wantsSudo && (filterLoaders.includes("perl") || filterLoaders.length === 0);
  const filter = hasSudo ? filterLoaders.find((it) => it === "perl") : filterLoaders[0];
  const filterBytes = filter === undefined ? undefined : seccompFilter(process.arch);
  const [findVersion, lent] = [hostVersions(), lentNode()];
  const mountinfo = textOf("/proc/self/mountinfo");
  const runBase = runBaseOf(stateDir);

  const diskKind = diskKindIn(stateDir);
  const images = baseImages(stateDir);
  const { blocks, bsize } = statfsSync(stateDir);
  const variants = new Map<string | undefined, Variant>();
  const makeVariant = (nodePath: string | undefined): Variant => {
    const plan = {
      identity,
      agentPath: resolve(options.agentPath),
      nodePath,
      etcNames: etcNames(),
      usrMounts: usrMounts(mountinfo),
    };
    const mounts = mountsOf(plan);
    const entries = skeletonOf(plan, mounts, filterBytes);
    const skeleton = writeSkeleton(stateDir, entries, identity === "root");
    const memoryIsLimited = probe.cgroups.parents.memory !== undefined;
    return {
      mounts,
      enter: { probe, filter, mayGain: hasSudo, root },
      async diskOf({ diskMib, memoryMib }) {
        if (diskKind === "image") {
          return { source: await images.find(skeleton, diskMib), options: images.options };
        }
        const options = tmpfsOptions(diskMib, memoryIsLimited ? memoryMib : undefined);
        return { source: skeleton, options };
      },
    };
  };
  return {
    stateDir,
    bootId: textOf("/proc/sys/kernel/random/boot_id").trim(),
    filter,
    hasSudo,
    diskKind,
    diskMibMax: Math.floor((blocks * bsize) / 1024 / 1024),
    findVersion,
    lentNode: lent,
    runDirOf: (launchId) =>
      runBase === undefined ? join(stateDir, launchId, "run") : join(runBase, launchId),
    variantOf: ({ id }) => {
      const path = nodeFor(id, findVersion, lent)?.path;
      const variant = variants.get(path) ?? makeVariant(path);
      variants.set(path, variant);
      return variant;
    },
  };
}

/** A short directory for the sockets, where the state directory's name is too long for them. */
function runBaseOf(stateDir: string): string | undefined {
  const room = SOCKET_PATH_MAX - "/run/agent.sock".length - LAUNCH_ID_LENGTH_MAX - 1;
  if (Buffer.byteLength(stateDir) <= room) return undefined;
  const hash = createHash("sha256").update(stateDir).digest("hex").slice(0, 8);
  const uid = process.geteuid?.() ?? 0;
  const base = uid === 0 ? `/run/soulbox-${hash}` : `/tmp/soulbox-${uid}-${hash}`;
  mkdirSync(base, { recursive: true, mode: 0o700 });
  // /tmp is anyone's: somebody else may have made it first.
  const found = lstatSync(base);
  if (!found.isDirectory() || found.uid !== uid || (found.mode & 0o077) !== 0) {
    throw new LocalError("denied", `${base} isn't a directory of this user alone.`);
  }
  return base;
}

/** Removes what another server left half made, unless it is at it: a draft takes milliseconds. */
function removeDrafts(stateDir: string, nowMs: EpochMs): void {
  for (const name of readdirSync(stateDir)) {
    const [, pid] = /^\.draft-(\d+)-/.exec(name) ?? [];
    if (pid === undefined) continue;
    const path = join(stateDir, name);
    const madeMs = lstatSync(path, { throwIfNoEntry: false })?.mtimeMs ?? nowMs;
    const isUnderWay = existsSync(`/proc/${pid}`) && madeMs > nowMs - DRAFT_MS_MAX;
    if (!isUnderWay) rmSync(path, { recursive: true, force: true });
  }
}

/** A draft older than this was left by a process whose pid is another's by now. */
const DRAFT_MS_MAX = 60_000;
