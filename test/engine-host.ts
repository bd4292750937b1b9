import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { request } from "node:http";
import { run } from "../adapters/docker/debian.ts";

/** A process of this machine. */
export interface Process {
  readonly pid: number;
  readonly parentPid: number;
  /** Its arguments, separated by spaces. */
  readonly commandLine: string;
}

/** Living processes whose name is, or starts with, the given one. */
export function processesNamed(name: string): Process[] {
  return readdirSync("/proc")
    .filter((entry) => /^\d+$/.test(entry))
    .flatMap((entry) => {
      const comm = read(`/proc/${entry}/comm`).trim();
      const commandLine = read(`/proc/${entry}/cmdline`).replaceAll("\0", " ").trim();
      // A zombie has no command line: nothing of it is left but its exit code.
      return comm.startsWith(name) && commandLine !== ""
        ? [{ pid: Number(entry), parentPid: Number(statOf(entry)[1]), commandLine }]
        : [];
    });
}

/** When a process started, in the kernel's ticks; undefined when it is gone or a zombie. */
export function processStart(pid: number): string | undefined {
  const fields = statOf(pid);
  return fields[0] === "Z" ? undefined : fields[19];
}

/** True when a process has the network of this one. */
export function isInOurNetwork({ pid }: Process): boolean {
  try {
    return readlinkSync(`/proc/${pid}/ns/net`) === readlinkSync("/proc/self/ns/net");
  } catch {
    return false;
  }
}

/** Mounts the control groups where the machine's start left them out. */
export async function mountCgroups(): Promise<void> {
  if (/ - cgroup2? /.test(read("/proc/self/mountinfo"))) return;
  await run("mount", ["-t", "cgroup2", "cgroup2", "/sys/fs/cgroup"]);
}

/** Takes away every mount below the folders, the deepest first. */
export async function unmountUnder(folders: readonly string[]): Promise<void> {
  const points = read("/proc/self/mountinfo")
    .split("\n")
    .map((line) => (line.split(" ")[4] ?? "").replaceAll("\\040", " "))
    .filter((point) => folders.some((each) => point === each || point.startsWith(`${each}/`)))
    .sort((a, b) => b.length - a.length);
  for (const point of points) await run("umount", ["-l", point]).catch(() => {});
}

/**
 * A bridge for a second engine on a machine whose first has `docker0`.
 *
 * @returns The daemon's arguments: the bridge, and address pools that the first one does not use.
 * @throws Error when no private range is free.
 */
export async function addBridge(name: string): Promise<string[]> {
  await removeLink(name);
  const taken = await run("ip", ["-o", "route", "show", "table", "all"]);
  const second = SECOND_BYTES.find((byte) => !new RegExp(`\\b10\\.${byte}\\.`).test(taken));
  if (second === undefined) throw new Error("no private address range is free for an engine");
  await run("ip", ["link", "add", name, "type", "bridge"]);
  await run("ip", ["address", "add", `10.${second}.0.1/20`, "dev", name]);
  await run("ip", ["link", "set", name, "up"]);
  return [`--bridge=${name}`, `--default-address-pool=base=10.${second}.128.0/17,size=24`];
}

/** Second bytes of 10/8 that are tried: away from what clouds and home routers prefer. */
const SECOND_BYTES = Array.from({ length: 32 }, (_, index) => 201 + index);

/** Removes a network interface; nothing happens when there is none. */
export async function removeLink(name: string): Promise<void> {
  await run("ip", ["link", "delete", name]).catch(() => {});
}

/** True when an engine answers there within two seconds. */
export function answers(socketPath: string): Promise<boolean> {
  return new Promise((done) => {
    const call = request({ socketPath, path: "/_ping", timeout: 2000 }, (response) => {
      response.resume();
      done(response.statusCode === 200);
    });
    call.once("timeout", () => call.destroy());
    call.once("error", () => done(false));
    call.end();
  });
}

/** Sends a signal to a process that may be gone already. */
export function sendSignal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
  }
}

/** The fields of `/proc/<pid>/stat` after the name: state, parent and so on (proc(5)). */
function statOf(pid: number | string): string[] {
  const stat = read(`/proc/${pid}/stat`);
  return stat.slice(stat.lastIndexOf(")") + 2).split(" ");
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
