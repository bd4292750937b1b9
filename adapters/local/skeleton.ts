import { createHash } from "node:crypto";
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { type Mount, programLinks, type RootfsPlan, SANDBOX_PATH } from "./rootfs.ts";
import { DRAFT_PREFIX } from "./state.ts";

/** What stands in the root of a fresh sandbox: copied into it before anything is mounted. */
export interface SkeletonEntry {
  readonly path: string;
  readonly kind: "dir" | "file" | "link";
  /** Text of a file, target of a link. */
  readonly content: string | Buffer;
  readonly mode: number;
  /** Owner and group inside. */
  readonly uid: number;
}

/** User id of `user`, who owns a sandbox's processes and files unless a request says otherwise. */
export const USER_ID = 1000;

/** The files of a fresh sandbox, mount points included, parents first. Pure but for /usr's links. */
export function skeletonOf(
  plan: RootfsPlan,
  mounts: readonly Mount[],
  filter: Buffer | undefined,
): readonly SkeletonEntry[] {
  // The whole of `user` in a sandbox with a single user is that user, root inside.
  const userId = plan.identity === "single" ? 0 : USER_ID;
  const shell = existsSync("/bin/bash") ? "/bin/bash" : "/bin/sh";
  const entries = new Map<string, SkeletonEntry>();
  const add = (path: string, rest: Partial<SkeletonEntry> = {}) => {
    for (let up = dirname(path); up !== "/"; up = dirname(up)) {
      if (!entries.has(up)) entries.set(up, { ...DIRECTORY, path: up });
    }
    entries.set(path, { ...DIRECTORY, path, ...rest });
  };
  const file = (path: string, content: string | Buffer, mode = 0o644, uid = 0) =>
    add(path, { kind: "file", content, mode, uid });

  for (const path of DIRECTORIES) add(path);
  for (const path of ["/tmp", "/var/tmp", "/run/lock"]) add(path, { mode: 0o1777 });
  add("/root", { mode: 0o700 });
  add("/home/user", { uid: userId });
  for (const [path, target] of [...programLinks(), ...LINKS]) {
    add(join("/", path), { kind: "link", content: target });
  }
  for (const [name, content, mode] of etcFiles(userId, shell)) file(`/etc/${name}`, content, mode);
  for (const [name, content] of HOME_FILES) file(`/home/user/${name}`, content, 0o644, userId);
  if (filter !== undefined) file("/.soulbox/filter", filter, 0o444);
  for (const { source, target, type } of mounts) {
    if (target.startsWith("/proc/")) continue;
    const isDir = type !== "bind" || statSync(source).isDirectory();
    add(target, isDir ? {} : { kind: "file" });
  }
  return [...entries.values()].toSorted((a, b) => (a.path < b.path ? -1 : 1));
}

/**
 * Writes a skeleton below `stateDir`, named by its content, unless it is there already.
 *
 * @param owns True when files may be given to other users: for root.
 * @returns Its path.
 */
export function writeSkeleton(
  stateDir: string,
  entries: readonly SkeletonEntry[],
  owns: boolean,
): string {
  const hash = createHash("sha256")
    .update(JSON.stringify([entries, owns]))
    .digest("hex");
  const path = join(stateDir, `.skeleton-${hash.slice(0, 16)}`);
  if (existsSync(path)) return path;
  const draft = mkdtempSync(join(stateDir, DRAFT_PREFIX));
  chmodSync(draft, 0o755);
  for (const { path: inside, kind, content, mode, uid } of entries) {
    const at = join(draft, inside);
    if (kind === "link") {
      symlinkSync(content.toString(), at);
      continue;
    }
    if (kind === "dir") mkdirSync(at);
    else writeFileSync(at, content);
    chmodSync(at, mode);
    if (owns) chownSync(at, uid, uid);
  }
  try {
    renameSync(draft, path);
  } catch (error) {
    rmSync(draft, { recursive: true, force: true });
    // Another server's copy of the same content serves as well.
    if (!existsSync(path)) throw error;
  }
  return path;
}

const DIRECTORY = { kind: "dir", content: "", mode: 0o755, uid: 0 } as const;

/** The sandbox's own, empty at first. /sys is a place to look into, with nothing there. */
const DIRECTORIES = [
  "/.soulbox/old",
  "/.soulbox/run",
  "/dev",
  "/etc/profile.d",
  "/home",
  "/media",
  "/mnt",
  "/opt",
  "/run",
  "/srv",
  "/sys",
  "/usr",
  "/var/cache",
  "/var/lib",
  "/var/log",
];

const LINKS: readonly (readonly [path: string, target: string])[] = [
  ["dev/fd", "/proc/self/fd"],
  ["dev/stdin", "/proc/self/fd/0"],
  ["dev/stdout", "/proc/self/fd/1"],
  ["dev/stderr", "/proc/self/fd/2"],
  ["dev/ptmx", "pts/ptmx"],
  ["etc/mtab", "/proc/self/mounts"],
  ["etc/os-release", "../usr/lib/os-release"],
  ["var/run", "/run"],
  ["var/lock", "/run/lock"],
];

const HOME_FILES = [
  [".profile", '[ -n "$BASH_VERSION" ] && [ -f "$HOME/.bashrc" ] && . "$HOME/.bashrc"\n:\n'],
  [".bashrc", "case $- in *i*) PS1='\\u@\\h:\\w\\$ ' ;; esac\n"],
] as const;

function etcFiles(
  userId: number,
  shell: string,
): readonly (readonly [name: string, content: string, mode?: number])[] {
  const users = [
    `root:x:0:0:root:/root:${shell}`,
    "daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin",
    "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin",
    `user:x:${userId}:${userId}:user:/home/user:${shell}`,
  ];
  const groups = [
    "root:x:0:",
    "daemon:x:1:",
    "tty:x:5:",
    "mail:x:8:",
    // Without members: a user with more than its own group costs the agent a fork per command.
    "sudo:x:27:",
    "shadow:x:42:",
    "utmp:x:43:",
    "staff:x:50:",
    "users:x:100:",
    `user:x:${userId}:`,
    "nogroup:x:65534:",
  ];
  const noPasswords = ["root", "daemon", "nobody", "user"].map(
    (name) => `${name}:*:20000:0:99999:7:::`,
  );
  return [
    ["passwd", lines(users)],
    ["group", lines(groups)],
    ["shadow", lines(noPasswords), 0o600],
    ["shells", lines(["/bin/sh", "/bin/bash"])],
    ["hostname", "sandbox\n"],
    ["hosts", lines(["127.0.0.1 localhost sandbox", "::1 localhost ip6-localhost ip6-loopback"])],
    ["host.conf", "multi on\n"],
    // No name server can be reached: asking none fails at once.
    ["nsswitch.conf", lines(NSSWITCH)],
    ["resolv.conf", ""],
    ["profile", lines(PROFILE)],
    ["bash.bashrc", ""],
    ["sudoers", lines(SUDOERS), 0o440],
    // The host's may ask for modules that talk to its services.
    ["environment", ""],
  ];
}

const NSSWITCH = [
  ...["passwd", "group", "shadow", "gshadow", "hosts", "networks"].map((name) => `${name}: files`),
  ...["protocols", "services", "ethers", "rpc"].map((name) => `${name}: files`),
];

const PROFILE = [
  `PATH=${SANDBOX_PATH}`,
  "export PATH",
  'for script in /etc/profile.d/*.sh; do [ -r "$script" ] && . "$script"; done',
  "unset script",
  ":",
];

const SUDOERS = [
  `Defaults secure_path="${SANDBOX_PATH}"`,
  "Defaults !requiretty, !use_pty, !lecture",
  "root ALL=(ALL:ALL) ALL",
  "user ALL=(ALL:ALL) NOPASSWD: ALL",
];

function lines(of: readonly string[]): string {
  return `${of.join("\n")}\n`;
}
