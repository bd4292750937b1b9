import { execFile, spawnSync } from "node:child_process";
import { closeSync, existsSync, ftruncateSync, openSync, readdirSync, rmSync } from "node:fs";
import { rename, rm, statfs } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { LocalError } from "./faults.ts";
import { TOOL_ENV } from "./probe.ts";
import { DRAFT_PREFIX } from "./state.ts";

const run = promisify(execFile);

/**
 * What a sandbox's files are kept in: `image`, a sparse file with an ext4 of the disk's size,
 * mounted through a loop device, or `memory`, a tmpfs. Both end hard at their size.
 */
export type DiskKind = "image" | "memory";

const IMAGE_SUFFIX = ".ext4";

/** Options of an image's mount. What is deleted inside is given back to the host. */
const IMAGE_OPTIONS = "loop,nodev,noatime,discard,errors=remount-ro";

/** A tmpfs may take this part of a sandbox's memory: a full disk must not mean no memory. */
const MEMORY_SHARE = 0.75;

/** Base images kept, one per size and skeleton: each takes half a MiB. */
const IMAGES_MAX = 8;

/** Room that must be left on the host's disk for another sandbox, unless it asks for less. */
const FREE_MIB_MIN = 1024;

/** Making an image takes some 15 ms; a busy disk may need seconds. */
const MKFS_MS_MAX = 20_000;

/** Tries to mount an image that lies in `dir`: takes root, mke2fs, loop devices and ext4. */
export function diskKindIn(dir: string): DiskKind {
  if (process.geteuid?.() !== 0) return "memory";
  const path = join(dir, `${DRAFT_PREFIX}probe`);
  try {
    makeSparse(path, 4);
    const script = 'mkfs.ext4 -q -F "$1" && exec mount -n -t ext4 -o "$2" "$1" /mnt';
    const args = ["--mount", "sh", "-c", script, "sh", path, IMAGE_OPTIONS];
    const { status } = spawnSync("unshare", args, { env: TOOL_ENV, timeout: MKFS_MS_MAX });
    return status === 0 ? "image" : "memory";
  } finally {
    rmSync(path, { force: true });
  }
}

/**
 * How `enter.sh` makes a disk of memory: the options of its tmpfs.
 *
 * @param memoryMib Size of the sandbox's memory where that is limited, which its files count to.
 */
export function tmpfsOptions(diskMib: number, memoryMib: number | undefined): string {
  const share = memoryMib === undefined ? diskMib : Math.floor(memoryMib * MEMORY_SHARE);
  const sizeMib = Math.min(diskMib, share);
  // One inode per 16 KiB, like ext4's default; at least enough for a small tree.
  const inodes = Math.max(16_384, sizeMib * 64);
  return `size=${sizeMib}m,nr_inodes=${inodes},mode=0755,nodev`;
}

/** Makes the images that sandboxes' disks are copied from. */
export interface BaseImages {
  /** Options of the mount. */
  readonly options: string;
  /**
   * Path of an image with a skeleton's files and this much room.
   *
   * @throws LocalError capacity when the host's disk is nearly full; what mkfs.ext4 threw.
   */
  find(skeleton: string, diskMib: number): Promise<string>;
}

/** Keeps base images in `dir`, named by skeleton and size. Those of earlier servers are removed. */
export function baseImages(dir: string): BaseImages {
  const images = new Map<string, Promise<string>>();
  for (const name of readdirSync(dir)) {
    if (name.endsWith(IMAGE_SUFFIX)) rmSync(join(dir, name), { force: true });
  }

  const make = async (skeleton: string, diskMib: number, path: string): Promise<string> => {
    const draft = join(dir, `${DRAFT_PREFIX}${diskMib}`);
    // The tables of inodes, 256 bytes for each 16 KiB, come on top of what was asked.
    makeSparse(draft, diskMib + Math.ceil(diskMib / 64) + 4);
    const features = ["-O", "^has_journal,^resize_inode", "-m", "0", "-i", "16384"];
    const extended = ["-E", "lazy_itable_init=1,nodiscard,root_owner=0:0", "-d", skeleton];
    try {
      const options = { env: TOOL_ENV, timeout: MKFS_MS_MAX };
      await run("mkfs.ext4", ["-q", "-F", ...features, ...extended, draft], options);
      await rename(draft, path);
      return path;
    } finally {
      await rm(draft, { force: true });
    }
  };

  return {
    options: IMAGE_OPTIONS,
    async find(skeleton, diskMib) {
      const { bavail, bsize } = await statfs(dir);
      const freeMib = Math.floor((bavail * bsize) / 1024 / 1024);
      if (freeMib < Math.min(diskMib, FREE_MIB_MIN)) {
        throw new LocalError("capacity", `${dir} has ${freeMib} MiB left on its disk.`);
      }
      const path = `${skeleton}-${diskMib}${IMAGE_SUFFIX}`;
      const known = images.get(path);
      if (known !== undefined && existsSync(await known)) return known;
      const [oldest] = images.keys();
      if (images.size >= IMAGES_MAX && oldest !== undefined) {
        images.delete(oldest);
        await rm(oldest, { force: true });
      }
      const image = make(skeleton, diskMib, path);
      images.set(path, image);
      image.catch(() => images.delete(path));
      return image;
    },
  };
}

function makeSparse(path: string, sizeMib: number): void {
  const file = openSync(path, "w", 0o600);
  try {
    ftruncateSync(file, sizeMib * 1024 * 1024);
  } finally {
    closeSync(file);
  }
}
