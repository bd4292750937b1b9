import { existsSync, lstatSync, readlinkSync } from "node:fs";
import { join } from "node:path";

/** A line of the sandbox's mount table, paths as seen inside. Mounted in order. */
export interface Mount {
  /** A host path for binds; inside for what is bound onto itself. */
  readonly source: string;
  readonly target: string;
  readonly type: "bind" | "self" | "proc" | "devpts" | "tmpfs";
  readonly options: string;
}

/** Where programs are looked for inside, and for the host's own tools on the way in. */
export const SANDBOX_PATH =
  "/opt/node/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** Where the agent listens, as the sandbox sees it. */
export const SOCKET_INSIDE = "/.soulbox/run/agent.sock";

/** Copied when the host has links (merged /usr), bound read-only when it has directories. */
const PROGRAM_DIRS = ["bin", "sbin", "lib", "lib32", "lib64", "libx32"];

/** Nodes that do no harm. Read-only binds: else root inside could change the host's modes. */
const DEVICES = ["null", "zero", "full", "random", "urandom", "tty"];

/**
 * What of the host's /etc programs in /usr need. Bound read-only. Nothing with keys, passwords or
 * habits of the host: not `ssl/private`, `pip.conf`, `npmrc`, `gitconfig`, `ssh`.
 */
const SHARED_ETC = [
  "alternatives",
  "bash_completion.d",
  "ca-certificates",
  "ca-certificates.conf",
  "crypto-policies",
  "debian_version",
  "ethertypes",
  "fonts",
  "inputrc",
  "ld.so.cache",
  "ld.so.conf",
  "ld.so.conf.d",
  "localtime",
  "login.defs",
  "magic",
  "mime.types",
  "pam.d",
  "perl",
  "pki/ca-trust",
  "pki/tls/cert.pem",
  "pki/tls/certs",
  "protocols",
  "python3",
  "rpc",
  "security",
  "services",
  "ssl/certs",
  "ssl/openssl.cnf",
  "terminfo",
  "timezone",
  "vim",
  "xattr.conf",
] as const;

/** Versioned directories of the same kind. */
const SHARED_ETC_PATTERN = /^(python3\.\d+|java-\d+-openjdk)$/;

/** Root without capabilities may still write here: Docker's lists (moby, oci/defaults.go). */
const PROC_READONLY = ["bus", "fs", "irq", "sys", "sysrq-trigger"];
const PROC_HIDDEN = [
  "acpi",
  "asound",
  "interrupts",
  "kallsyms",
  "kcore",
  "keys",
  "kmsg",
  "latency_stats",
  "sched_debug",
  "scsi",
  "timer_list",
  "timer_stats",
];

/** What differs from one machine or set-up to the next. */
export interface RootfsPlan {
  /** `root` has real users inside, `mapped` has them shifted, `single` has one user only. */
  readonly identity: "root" | "mapped" | "single";
  readonly agentPath: string;
  /** A Node to put at /opt/node/bin/node, `undefined` for none. */
  readonly nodePath: string | undefined;
  /** Names in the host's /etc. */
  readonly etcNames: readonly string[];
  /** Mount points below the host's /usr. */
  readonly usrMounts: readonly string[];
}

/** The mount table of every sandbox, save for what {@link fstabOf} adds for one. */
export function mountsOf(plan: RootfsPlan): readonly Mount[] {
  const readOnly = (source: string, target = source): Mount => ({
    source,
    target,
    type: "bind",
    options: "bind,ro",
  });
  const programs = PROGRAM_DIRS.map((name) => `/${name}`).filter(isDirectory);
  const etc = [...SHARED_ETC, ...plan.etcNames.filter((name) => SHARED_ETC_PATTERN.test(name))];
  const { nodePath } = plan;
  return [
    ...["/usr", ...plan.usrMounts, ...programs].map((path) => readOnly(path)),
    ...etc
      .map((name) => `/etc/${name}`)
      .filter(existsSync)
      .map((path) => readOnly(path)),
    { source: "proc", target: "/proc", type: "proc", options: "nosuid,nodev,noexec" },
    ...PROC_READONLY.map((name) => `/proc/${name}`)
      .filter(existsSync)
      .map((path): Mount => ({ source: path, target: path, type: "self", options: "bind,ro" })),
    ...PROC_HIDDEN.map((name) => `/proc/${name}`)
      .filter(existsSync)
      .map(hidden),
    ...DEVICES.map((name) => readOnly(`/dev/${name}`)),
    {
      source: "devpts",
      target: "/dev/pts",
      type: "devpts",
      // Group 5 is `tty`; with a single user there is no such group to give it to.
      options: `newinstance,nosuid,noexec,ptmxmode=0666,mode=0620${plan.identity === "single" ? "" : ",gid=5"}`,
    },
    {
      source: "shm",
      target: "/dev/shm",
      type: "tmpfs",
      options: "nosuid,nodev,noexec,mode=1777,size=64m",
    },
    readOnly(plan.agentPath, "/.soulbox/agent"),
    ...(nodePath === undefined ? [] : [readOnly(nodePath, "/opt/node/bin/node")]),
  ];
}

/** The mount table of one sandbox as `mount --all --fstab` reads it. */
export function fstabOf(mounts: readonly Mount[], root: string, runDir: string): string {
  const run: Mount = {
    source: runDir,
    target: "/.soulbox/run",
    type: "bind",
    options: "bind,nosuid,nodev,noexec",
  };
  const lines = [...mounts, run].map(({ source, target, type, options }) => {
    const from = type === "self" ? join(root, source) : source;
    const kind = type === "bind" || type === "self" ? "none" : type;
    return `${escapePath(from)} ${escapePath(join(root, target))} ${kind} ${options} 0 0\n`;
  });
  return lines.join("");
}

/** Links of the root directory, `/bin` → `usr/bin` for example, as the host has them. */
export function programLinks(): ReadonlyMap<string, string> {
  const links = PROGRAM_DIRS.flatMap((name) => {
    const isLink = lstatSync(`/${name}`, { throwIfNoEntry: false })?.isSymbolicLink();
    return isLink ? [[name, readlinkSync(`/${name}`)] as const] : [];
  });
  return new Map(links);
}

function hidden(path: string): Mount {
  if (!isDirectory(path)) {
    return { source: "/dev/null", target: path, type: "bind", options: "bind,ro" };
  }
  const options = "ro,nosuid,nodev,noexec,size=4k,nr_inodes=2,mode=0555";
  return { source: "none", target: path, type: "tmpfs", options };
}

function isDirectory(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

/** Spaces and the like as fstab(5) wants them. */
function escapePath(path: string): string {
  return path.replace(/[\s\\#]/g, (char) => `\\${char.charCodeAt(0).toString(8).padStart(3, "0")}`);
}
