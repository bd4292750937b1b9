/**
 * Bridge of the network that sandboxes share, whatever their stage. Fixed, so that rules can name
 * it; at most 15 characters (IFNAMSIZ).
 */
export const BRIDGE_DEFAULT = "soulbox0";

/** Name of the engine's network on a bridge. */
export function networkName(bridge: string): string {
  return `sandboxes-${bridge}`;
}

/** Chain that holds the rules of a bridge. At most 28 characters. */
export function chainName(bridge: string): string {
  return `SOULBOX-${bridge}`;
}

/**
 * Where no sandbox may go (IPv4). Source: IANA's special-purpose address registry, read
 * 2026-11-25; documentation ranges are left out, as nobody's private network is there.
 */
const FORBIDDEN: readonly (readonly [string, string])[] = [
  ["0.0.0.0/8", "this network"],
  ["10.0.0.0/8", "private"],
  ["100.64.0.0/10", "carrier, and metadata of Alibaba"],
  ["127.0.0.0/8", "loopback"],
  ["168.63.129.16/32", "metadata of Azure"],
  ["169.254.0.0/16", "link-local, and metadata of most clouds"],
  ["172.16.0.0/12", "private"],
  ["192.0.0.0/24", "protocol assignments, and metadata of Oracle"],
  ["192.168.0.0/16", "private"],
  ["198.18.0.0/15", "benchmarks"],
  ["224.0.0.0/4", "multicast"],
  ["240.0.0.0/4", "reserved, and broadcast"],
];

/**
 * The shell script, for root on the engine's host, that lays the rules. Repeating it changes
 * nothing; the chain is replaced in one step, so there is no moment without it.
 *
 * The rules stand in `mangle PREROUTING`, which every packet from a sandbox passes first: before
 * the engine's port forwarding, on its way to the host as well as through it. The engine and most
 * firewalls manage `filter` and `nat` only, so a restart of theirs does not remove them.
 *
 * - An answer to a connection from outside (the host asking an agent) passes.
 * - The engine's own DNS asks the outer resolvers from the sandbox's network: port 53 of exactly
 *   those passes, wherever they are.
 * - The host itself, by any of its addresses, and {@link FORBIDDEN} are unreachable.
 * - Neighbours are in a private range, so the same rules keep them apart.
 * - No IPv6 at all: the network has none.
 *
 * @param bridge From which the packets come.
 * @param resolvers IPv4 addresses that sandboxes may ask for names.
 */
export function egressScript(bridge: string, resolvers: readonly string[]): string {
  const dns = resolvers.flatMap((address) =>
    ["udp", "tcp"].map((protocol) => `-d ${address}/32 -p ${protocol} --dport 53 -j RETURN`),
  );
  const v4 = [
    "-m conntrack --ctstate ESTABLISHED,RELATED -j RETURN",
    ...dns,
    "-m addrtype --dst-type LOCAL -j DROP",
    ...FORBIDDEN.map(([range, why]) => `-d ${range} -m comment --comment "${why}" -j DROP`),
  ];
  return [
    "set -e",
    ...NEIGHBOURS_SCRIPT,
    ...layScript("iptables", bridge, v4),
    "if [ -e /proc/net/if_inet6 ]; then",
    ...layScript("ip6tables", bridge, ["-j DROP"]),
    "fi",
  ].join("\n");
}

/** Makes packets between two sandboxes on the bridge meet the rules as well. */
const NEIGHBOURS_SCRIPT: readonly string[] = [
  "[ -d /proc/sys/net/bridge ] || modprobe br_netfilter 2>/dev/null || true",
  "for protocol in iptables ip6tables; do",
  "  setting=/proc/sys/net/bridge/bridge-nf-call-$protocol",
  '  [ "$(cat $setting)" = 1 ] || echo 1 > $setting',
  "done",
];

function layScript(
  command: "iptables" | "ip6tables",
  bridge: string,
  rules: readonly string[],
): string[] {
  const chain = chainName(bridge);
  const jump = `PREROUTING -i ${bridge} -j ${chain}`;
  const base = `${command} -w ${LOCK_SECONDS} -t mangle`;
  return [
    `${command}-restore -w ${LOCK_SECONDS} --noflush <<'END'`,
    "*mangle",
    `:${chain} - [0:0]`,
    ...rules.map((rule) => `-A ${chain} ${rule}`),
    "COMMIT",
    "END",
    `${base} -C ${jump} 2>/dev/null || ${base} -I ${jump.replace(" ", " 1 ")}`,
  ];
}

/** How long to wait for another program that is changing rules. */
const LOCK_SECONDS = 5;

/** Prints what {@link resolversOf} reads, on the engine's host. */
export const RESOLVERS_SCRIPT =
  "cat /etc/resolv.conf /run/systemd/resolve/resolv.conf 2>/dev/null || true";

/**
 * IPv4 addresses of name servers in the text of `resolv.conf` files. Those on loopback are left
 * out: the engine asks them from the host's network.
 */
export function resolversOf(text: string): readonly string[] {
  const found = [...text.matchAll(/^\s*nameserver\s+(\d{1,3}(?:\.\d{1,3}){3})\s*$/gm)];
  const addresses = found.flatMap((match) => match[1] ?? []);
  return [...new Set(addresses)].filter((address) => !address.startsWith("127."));
}
