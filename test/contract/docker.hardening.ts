import { readFile } from "node:fs/promises";
import { connect, createServer, type Server, type Socket } from "node:net";
import { networkInterfaces } from "node:os";
import type { DockerOptions, DockerProvider } from "@soulbox/adapter-docker";
import {
  epochMs,
  type LaunchId,
  type LaunchRequest,
  launchIdOf,
  type Observation,
  type SandboxId,
} from "@soulbox/core";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { canLimitBandwidth } from "../../adapters/docker/bandwidth.ts";
import { run } from "../../adapters/docker/debian.ts";
import { BRIDGE_DEFAULT, chainName } from "../../adapters/docker/egress.ts";
import { containerName } from "../../adapters/docker/translate.ts";
import type { Engine } from "../engine.ts";
import {
  type DockerBench,
  networkWith,
  openBench,
  reachAgent,
  TEMPLATE,
} from "./docker-harness.ts";

/**
 * What is true inside and around a sandbox, on any engine that speaks Docker's API.
 *
 * @param options Of every provider that the tests set up.
 */
export function sandboxHardening(
  name: string,
  openEngine: () => Promise<Engine>,
  options: Partial<DockerOptions> = {},
): void {
  describe(`a sandbox on ${name}`, { timeout: 120_000 }, () => {
    let bench: DockerBench;
    let provider: DockerProvider;
    let stopEngine: () => Promise<void>;
    let count = 0;
    const launched: LaunchId[] = [];
    const { bridge = BRIDGE_DEFAULT } = options;
    const { signal } = new AbortController();

    beforeAll(async () => {
      const engine = await openEngine();
      stopEngine = engine.stop;
      bench = await openBench(engine.socketPath);
      provider = bench.provider(options);
      await provider.load();
    }, 300_000);

    afterEach(async () => {
      const refs = launched.splice(0).map((launchId) => ({ ...REGION, launchId }));
      await Promise.all(refs.map((ref) => provider.terminate(ref, signal)));
    });

    afterAll(async () => {
      expect(await bench.leftovers()).toEqual([]);
      await bench.close();
      await stopEngine();
    });

    const launch = (
      network: Partial<LaunchRequest["network"]> = {},
      owner = provider,
      memoryMib = TEMPLATE.resources.memoryMib,
    ): Promise<Observation> => {
      count += 1;
      const launchId = launchIdOf(`h${String(count).padStart(24, "0")}` as SandboxId, 1);
      launched.push(launchId);
      return owner.launch(
        {
          launchId,
          region: "local",
          template: TEMPLATE,
          resources: { ...TEMPLATE.resources, memoryMib },
          network: { ...NETWORK, ...network },
          agentEnv: {},
          labels: { "soulbox.stage": bench.stage, "soulbox.launch": launchId },
          terminateByMs: epochMs(Date.now() + 600_000),
        },
        signal,
      );
    };

    /** Runs a command as the sandbox's root; gives its output, both streams, and its exit code. */
    const inside = async ({ launchId }: Observation, script: string): Promise<string> => {
      const container = bench.client.getContainer(containerName(bench.stage, launchId));
      const exec = await container.exec({
        Cmd: ["bash", "-c", `${script}\necho "exit $?"`],
        AttachStdout: true,
        AttachStderr: true,
        Tty: true,
      });
      const stream = await exec.start({ Tty: true });
      let text = "";
      for await (const chunk of stream) text += String(chunk);
      return text.replaceAll("\r\n", "\n").trim();
    };

    const addressOf = ({ agentAddress = "" }: Observation) => new URL(agentAddress).hostname;

    describe("its rights", () => {
      it("are the listed capabilities, behind a system call filter, with sudo possible", async () => {
        const seen = await launch();

        const status = await inside(seen, "cat /proc/self/status");

        expect(capabilitiesIn(status, "CapBnd")).toEqual([
          "CHOWN",
          "DAC_OVERRIDE",
          "FOWNER",
          "FSETID",
          "KILL",
          "SETGID",
          "SETUID",
          "NET_BIND_SERVICE",
          "SYS_CHROOT",
          "AUDIT_WRITE",
        ]);
        expect(capabilitiesIn(status, "CapInh")).toEqual([]);
        expect(status).toMatch(/^Seccomp:\s2$/m);
        expect(status).toMatch(/^NoNewPrivs:\s0$/m);
      });

      it("can't grow without sudo", async () => {
        const seen = await launch({}, bench.provider({ ...options, sudo: false }));

        const status = await inside(seen, "cat /proc/self/status");

        expect(status).toMatch(/^NoNewPrivs:\s1$/m);
        expect(capabilitiesIn(status, "CapBnd")).not.toContain("AUDIT_WRITE");
      });

      it.for([
        ["mount -t tmpfs x /mnt", /permission denied/i],
        ["mknod /tmp/sda b 8 0", /not permitted/i],
        ["echo 1 > /proc/sys/kernel/panic", /read-only/i],
        ["echo x > /.soulbox/agent", /read-only|busy/i],
        ["head -c 1 /proc/kcore | wc -c", /^0$/m],
        ["ls -A /proc/acpi /proc/scsi /sys/firmware | grep -v : | grep .", /exit 1/],
      ] as const)("don't let root do: %s", async ([command, answer]) => {
        const seen = await launch({ internet: false });

        expect(await inside(seen, command)).toMatch(answer);
      });

      it("don't let root make namespaces of its own, or the provider says that they do", async () => {
        const seen = await launch({ internet: false });

        const answer = await inside(seen, "unshare --user true");

        const isOpen = provider.traits.gaps.some((gap) => gap.includes("user namespaces"));
        expect(answer).toMatch(isOpen ? /^exit 0$/ : /not permitted/i);
      });
    });

    describe("its limits", () => {
      it("are memory without swap, processes, open files and no core files", async () => {
        const seen = await launch({ internet: false });

        const memory = await inside(seen, CGROUP("memory/memory.limit_in_bytes", "memory.max"));
        const swap = await inside(
          seen,
          CGROUP("memory/memory.memsw.limit_in_bytes", "memory.swap.max"),
        );
        const pids = await inside(seen, CGROUP("pids/pids.max", "pids.max"));
        const limits = await inside(seen, "ulimit -n; ulimit -c; df -B1 --output=size /dev/shm");

        const bytes = TEMPLATE.resources.memoryMib * 1024 * 1024;
        expect(memory).toMatch(new RegExp(`^${bytes}\n`));
        expect(swap).toMatch(new RegExp(`^(${bytes}|0)\n`));
        expect(pids).toMatch(/^1024\n/);
        expect(limits).toMatch(new RegExp(`^16384\n0\n.*\n\\s*${bytes / 2}\n`));
      });

      it("are its share of the processors", async () => {
        const seen = await launch({ internet: false });

        const spun = await inside(seen, "time timeout 2 bash -c 'while :; do :; done'");

        const user = /user\s+0m([\d.]+)s/.exec(spun)?.[1];
        expect(Number(user)).toBeLessThan(1.5);
      });

      it("end a fork bomb, and the agent still answers", async () => {
        // Enough for as many processes as there may be: the bound on memory is another test's.
        const seen = await launch({}, provider, 2048);

        const bomb = await inside(seen, `perl -e '${PERL_BOMB}'`);

        expect(Number(/^refused after (\d+)$/m.exec(bomb)?.[1])).toBeLessThan(1024);
        expect(await reachAgent(seen)).toBe(true);
      });
    });

    describe("its disk", () => {
      it("is measured from outside, and a breach is listed", async () => {
        const own = bench.provider(options);
        const seen = await launch({ internet: false }, own);
        const { diskMib } = TEMPLATE.resources;
        await inside(seen, `head -c ${(diskMib + 8) * 1024 * 1024} /dev/zero > /big`);

        const breaches = async () => {
          const { items } = await own.list("local", undefined, signal);
          return items.filter(({ breach }) => breach === "disk").map(({ launchId }) => launchId);
        };

        await expect.poll(breaches, { timeout: 60_000 }).toEqual([seen.launchId]);
        expect(own.traits.gaps.join()).toContain("disk is measured");
      });

      it("is not the host's: the socket's folder holds next to nothing", async () => {
        const seen = await launch({ internet: false });

        const filled = await inside(
          seen,
          "head -c 1000000 /dev/zero > /.soulbox/run/big; wc -c < /.soulbox/run/big",
        );
        const files = await inside(
          seen,
          "rm /.soulbox/run/big; for i in {1..50}; do : > /.soulbox/run/$i; done",
        );

        expect(filled).toMatch(/No space left on device\n6\d{4}\n/);
        expect(files).toContain("No space left on device");
      });
    });

    describe("its network", () => {
      let listener: Server;
      let port: number;

      beforeAll(async () => {
        listener = createServer((socket) => socket.end("host")).listen(0, "0.0.0.0");
        await new Promise((resolve) => listener.once("listening", resolve));
        const address = listener.address();
        port = typeof address === "object" && address !== null ? address.port : 0;
      });

      afterAll(() => new Promise((resolve) => listener.close(resolve)));

      it("reaches the internet by name, and its own localhost", async ({ skip }) => {
        if (name === "podman" && (await dropsForwarding())) {
          return skip("Docker runs on this host too, and its firewall drops what Podman forwards");
        }
        const seen = await launch({ internet: true });

        const answer = await inside(
          seen,
          "mirror=$(grep -rhoE 'http://[^/ ]+' /etc/apt | head -1 | cut -d/ -f3); " +
            'getent hosts "$mirror" && echo "$mirror is known"; getent hosts localhost; ' +
            'timeout 20 bash -c "echo > /dev/tcp/$mirror/80"',
        );

        expect(answer).toMatch(/^\S+ is known$/m);
        expect(answer).toMatch(/localhost/);
        expect(answer).toMatch(/exit 0$/);
      });

      it("reaches the host by none of its addresses", async () => {
        const seen = await launch();
        const addresses = Object.values(networkInterfaces())
          .flatMap((all) => all ?? [])
          .filter(({ family, internal }) => family === "IPv4" && !internal)
          .map(({ address }) => address);
        expect(addresses.length).toBeGreaterThan(0);

        const answers = await inside(seen, addresses.map((it) => knock(it, port)).join("; "));

        expect(await reads("127.0.0.1", port)).toBe("host");
        expect(answers).not.toContain("open");
      });

      it.runIf(process.getuid?.() === 0).for([
        ["10.1.2.3", "10.0.0.0/8"],
        ["172.30.1.2", "172.16.0.0/12"],
        ["192.168.1.1", "192.168.0.0/16"],
        ["169.254.169.254", "169.254.0.0/16"],
        ["100.100.100.200", "100.64.0.0/10"],
        ["168.63.129.16", "168.63.129.16"],
      ] as const)("drops what goes to %s", async ([address, range]) => {
        const seen = await launch();
        const answers: string[] = [];

        // Another server may lay the rules in between, which counts from 0 again.
        const isCounted = async () => {
          const before = await dropped(bridge, range);
          answers.push(await inside(seen, knock(address, 80)));
          return (await dropped(bridge, range)) > before;
        };

        await expect.poll(isCounted, { timeout: 60_000 }).toBe(true);
        expect(answers.join()).not.toContain("open");
      });

      it("keeps neighbours apart, and their ids from each other", async () => {
        const [one, other] = await Promise.all([launch(), launch()]);
        const target = addressOf(other);

        const answers = await inside(one, `${knock(target, 49_983)}; getent hosts ${target}`);

        expect(answers).toContain("closed");
        expect(answers).not.toContain(other.launchId.slice(0, -2));
        expect(await inside(one, `getent hosts ${other.launchId.slice(0, -2)}`)).toBe("exit 2");
      });

      it("has no IPv6 address that leads anywhere", async () => {
        const seen = await launch();

        const addresses = await inside(seen, "grep -v -e ' lo$' -e ^fe80 /proc/net/if_inet6");

        expect(addresses).toBe("exit 1");
      });

      it("is loopback alone when the internet is forbidden", async () => {
        const seen = await launch({ internet: false });

        const links = await inside(seen, "ls /sys/class/net; tail -n +2 /proc/net/route");
        const answer = await inside(seen, knock("1.1.1.1", 443));

        expect(seen.agentAddress).toMatch(/^unix:/);
        expect(links).toBe("lo\nexit 0");
        expect(answer).toContain("closed");
      });

      it("is as slow as asked in each direction, or refused", async () => {
        const bandwidthKbit = 8000;
        const fit = provider.traits.fit({
          resources: TEMPLATE.resources,
          network: { ...NETWORK, bandwidthKbit },
        });
        if (!(await canLimitBandwidth())) {
          expect(fit).toEqual({ refused: expect.stringContaining("bandwidth") });
          return;
        }
        const seen = await launch({ bandwidthKbit });
        await inside(seen, `setsid -f perl -e '${PERL_SERVER}' > /dev/null 2>&1 < /dev/null`);
        const listens = () => inside(seen, "grep -q :2328 /proc/net/tcp");
        await expect.poll(listens, { timeout: 10_000 }).toBe("exit 0");

        const { sentMs, readMs } = await exchange(addressOf(seen), 9000);

        expect(sentMs).toBeGreaterThan(700);
        expect(readMs).toBeGreaterThan(700);
        expect(sentMs + readMs).toBeLessThan(10_000);
      });
    });

    it("is not known to the host's mounts and folders after its end", async () => {
      const seen = await launch({ internet: false });

      await provider.terminate({ ...REGION, launchId: seen.launchId }, signal);

      expect(await readFile("/proc/self/mountinfo", "utf8")).not.toContain(bench.runDir);
      expect(await bench.leftovers()).toEqual([]);
    });
  });
}

const REGION = { region: "local", nativeId: undefined } as const;

const NETWORK = networkWith(undefined);

/** A file of the control group, in its first version's place or its second's. */
const CGROUP = (first: string, second: string) =>
  `cat /sys/fs/cgroup/${first} 2>/dev/null || cat /sys/fs/cgroup/${second}`;

/** Bash that says whether a port answers within 2 s. */
function knock(address: string, port: number): string {
  const attempt = `timeout 2 bash -c 'exec 3<>/dev/tcp/${address}/${port}' 2>/dev/null`;
  return `if ${attempt}; then echo open; else echo closed; fi`;
}

/** Forks until it may not. */
const PERL_BOMB =
  "for my $i (1..4000) { my $p = fork; " +
  'if (!defined $p) { print "refused after $i\\n"; exit } if (!$p) { sleep 60; exit } }';

/** Takes a megabyte, then sends one. */
const PERL_SERVER = `
use IO::Socket::INET;
my $s = IO::Socket::INET->new(LocalPort => 9000, Listen => 1, ReuseAddr => 1) or die;
my $c = $s->accept; my $n = 0;
while ($n < 1000000) { my $r = sysread($c, my $b, 65536); last unless $r; $n += $r; }
my $d = "x" x 1000000; my $o = 0;
while ($o < 1000000) { my $w = syswrite($c, $d, 65536, $o); last unless $w; $o += $w; }
close $c;`.replaceAll("\n", " ");

/** Sends a megabyte and reads one; the server's first byte tells that all has arrived. */
async function exchange(host: string, port: number): Promise<{ sentMs: number; readMs: number }> {
  const socket: Socket = connect({ host, port });
  await new Promise((resolve, reject) => socket.once("connect", resolve).once("error", reject));
  const startMs = performance.now();
  socket.write(Buffer.alloc(1_000_000));
  let firstMs = 0;
  for await (const _ of socket) firstMs ||= performance.now();
  return { sentMs: firstMs - startMs, readMs: performance.now() - firstMs };
}

async function reads(host: string, port: number): Promise<string> {
  let text = "";
  for await (const chunk of connect({ host, port })) text += String(chunk);
  return text;
}

/** True when the host's firewall forwards nothing that isn't asked for, as Docker sets it up. */
async function dropsForwarding(): Promise<boolean> {
  return (await run("iptables", ["-w", "-S", "FORWARD"])).includes("-P FORWARD DROP");
}

/** Packets that the rule for a range has dropped. */
async function dropped(bridge: string, range: string): Promise<number> {
  const rules = await run("iptables", ["-w", "-t", "mangle", "-nvxL", chainName(bridge)]);
  const line = rules
    .split("\n")
    .find((rule) => rule.includes("DROP") && rule.includes(` ${range} `));
  return Number(line?.trim().split(/\s+/)[0] ?? Number.NaN);
}

/** Source: linux/capability.h; those up to 29 are all that is named here. */
const CAPABILITIES = (
  "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE " +
  "NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO " +
  "SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME " +
  "SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE"
).split(" ");

/** Names of the capabilities in a line of `/proc/<pid>/status`, by their number. */
function capabilitiesIn(status: string, set: string): string[] {
  const bits = BigInt(`0x${new RegExp(`^${set}:\\s*([0-9a-f]+)$`, "m").exec(status)?.[1]}`);
  const count = bits.toString(2).length;
  const names = Array.from({ length: count }, (_, bit) => CAPABILITIES[bit] ?? `CAP_${bit}`);
  return names.filter((_, bit) => (bits >> BigInt(bit)) & 1n);
}
