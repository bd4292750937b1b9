import { constants, lstatSync, realpathSync, type Stats, statSync } from "node:fs";
import { posix } from "node:path";
import type { Users } from "./users.ts";
import { readMetadata } from "./xattr.ts";

/** A file as E2B's protocol describes it. */
export interface Entry {
  /** Last part of the path. */
  readonly name: string;
  /** Type of the target for a link, or a link when the target is missing. */
  readonly type: FileType;
  /** Absolute. */
  readonly path: string;
  /** Bytes, in decimal. */
  readonly size: string;
  /** Permission bits; the target's for a link. */
  readonly mode: number;
  /** As `ls` prints them, the way Go does it: `-rw-r--r--`, `drwxr-xr-x`, `Lrwxrwxrwx`. */
  readonly permissions: string;
  readonly owner: string;
  readonly group: string;
  /** RFC 3339. */
  readonly modifiedTime: string;
  /** What a link leads to at last, absolute. */
  readonly symlinkTarget?: string;
  readonly metadata?: Readonly<Record<string, string>>;
}

type FileType =
  | "FILE_TYPE_UNSPECIFIED"
  | "FILE_TYPE_FILE"
  | "FILE_TYPE_DIRECTORY"
  | "FILE_TYPE_SYMLINK";

/** Describes what is at a path. @throws the system's error, ENOENT among them. */
export function readEntry(path: string, users: Users): Entry {
  const own = lstatSync(path);
  const target = own.isSymbolicLink() ? targetOf(path) : undefined;
  const stat = target?.stat ?? own;
  const metadata = readMetadata(target?.path ?? path);
  return {
    name: posix.basename(path),
    type: typeOf(stat),
    path,
    size: String(own.size),
    mode: stat.mode & 0o777,
    permissions: formatPermissions(own.mode),
    owner: users.userName(own.uid),
    group: users.groupName(own.gid),
    modifiedTime: own.mtime.toISOString(),
    ...(target === undefined ? {} : { symlinkTarget: target.path }),
    ...(Object.keys(metadata).length === 0 ? {} : { metadata }),
  };
}

/** Where a link leads; undefined when that is missing or a loop. */
function targetOf(path: string): { path: string; stat: Stats } | undefined {
  try {
    const target = realpathSync(path);
    return { path: target, stat: statSync(target) };
  } catch {
    return undefined;
  }
}

function typeOf(stat: Stats): FileType {
  if (stat.isFile()) return "FILE_TYPE_FILE";
  if (stat.isDirectory()) return "FILE_TYPE_DIRECTORY";
  return stat.isSymbolicLink() ? "FILE_TYPE_SYMLINK" : "FILE_TYPE_UNSPECIFIED";
}

const { S_IFMT, S_IFDIR, S_IFLNK, S_IFBLK, S_IFIFO, S_IFSOCK, S_IFCHR } = constants;

const KINDS = new Map([
  [S_IFDIR, "d"],
  [S_IFLNK, "L"],
  [S_IFBLK, "D"],
  [S_IFIFO, "p"],
  [S_IFSOCK, "S"],
  [S_IFCHR, "Dc"],
]);

/** Permissions as Go's `FileMode.String` prints them, which E2B's clients show. */
export function formatPermissions(mode: number): string {
  const kind = KINDS.get(mode & S_IFMT) ?? "";
  const [device = "", char = ""] = kind === "Dc" ? ["D", "c"] : [kind];
  const setuid = (mode & 0o4000) === 0 ? "" : "u";
  const setgid = (mode & 0o2000) === 0 ? "" : "g";
  const sticky = (mode & 0o1000) === 0 ? "" : "t";
  const prefix = `${device}${setuid}${setgid}${char}${sticky}`;
  let bits = "";
  for (let at = 8; at >= 0; at -= 1) bits += (mode >> at) & 1 ? "xwr"[at % 3] : "-";
  return (prefix === "" ? "-" : prefix) + bits;
}
