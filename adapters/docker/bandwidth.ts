import { run } from "./debian.ts";

/**
 * True when this server can shape a sandbox's traffic: root, `tc` and the kernel's token bucket.
 * Tried on the loopback of a network that exists for that moment only.
 */
export async function canLimitBandwidth(): Promise<boolean> {
  if (process.getuid?.() !== 0) return false;
  const probe = ["--net", "tc", ...bucket("lo", 1000)];
  return run("unshare", probe).then(
    () => true,
    () => false,
  );
}

/**
 * Bounds a sandbox's traffic, each direction by itself: what it sends on its own end of the wire,
 * where it lacks the right to change that, and what it gets on the host's end. The gateway's
 * traffic counts too. Repeating it changes nothing.
 *
 * @param pid Host's id of a process in the sandbox's network.
 * @param kbit Kilobits per second.
 */
export async function limitBandwidth(pid: number, kbit: number): Promise<void> {
  const inside = ["--target", String(pid), "--net"];
  const link = await run("nsenter", [...inside, "ip", "-o", "link", "show", "dev", "eth0"]);
  const index = peerIndexOf(link);
  const links = await run("ip", ["-o", "link", "show", "type", "veth"]);
  const peer = linkNameOf(links, index);
  if (peer === undefined) throw new Error(`There is no link ${index} for process ${pid}.`);
  await run("nsenter", [...inside, "tc", ...bucket("eth0", kbit)]);
  await run("tc", bucket(peer, kbit));
}

/**
 * The host's index of the other end, from `ip -o link`: `21: eth0@if22: <…>`.
 *
 * @throws Error when the text names none.
 */
export function peerIndexOf(text: string): number {
  const index = /^\d+: [^@\s]+@if(\d+):/.exec(text)?.[1];
  if (index === undefined) throw new Error(`No other end in ${JSON.stringify(text.slice(0, 80))}.`);
  return Number(index);
}

/** Name of the link with that index in the output of `ip -o link`. */
export function linkNameOf(text: string, index: number): string | undefined {
  return new RegExp(`^${index}: ([^@:\\s]+)`, "m").exec(text)?.[1];
}

/** A burst of 32 KiB, or of 20 ms where that is more; a packet waits for at most 50 ms. */
function bucket(device: string, kbit: number): string[] {
  const burstBytes = Math.max(32 * 1024, Math.ceil((kbit * 1000 * 0.02) / 8));
  return [
    ...["qdisc", "replace", "dev", device, "root", "tbf"],
    ...["rate", `${kbit}kbit`, "burst", String(burstBytes), "latency", "50ms"],
  ];
}
