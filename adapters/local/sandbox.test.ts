import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { join } from "node:path";
import type { Observation } from "@soulbox/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { PIDS_MAX } from "./cgroup.ts";
import {
  aLaunchId,
  type Bench,
  openBench,
  refOf,
  requestOf,
  run,
  SMALL,
  signal,
} from "./testing/harness.ts";

describe("a local sandbox", { timeout: 60_000 }, () => {
  let bench: Bench;
  let seen: Observation;
  let isRoot: boolean;

  beforeAll(async () => {
    bench = openBench();
    isRoot = bench.probe.identity === "root";
    seen = await bench.launch();
  }, 60_000);

  afterAll(() => bench?.close());

  const output = async (command: string, user: "user" | "root" = "root"): Promise<string> =>
    (await run(seen, command, user)).output.trim();

  describe("sees", () => {
    it("the host's programs, which it can't change", async () => {
      expect(await output("cd /usr && ls -d bin")).toBe("bin");
      expect(await output("touch /usr/mine; ls /usr/mine")).toMatch(/Read-only file system/);
      expect((await run(seen, "command -v ls sh", "root")).code).toBe(0);
    });

    it("its own users, and homes with nothing of the host's in them", async () => {
      expect(await output("ls /home")).toBe("user");
      expect(await output("ls -A /root /sys /mnt /opt /srv | grep -v :")).toBe("");
      expect(await output("cut -d: -f1 /etc/passwd | sort | tr '\\n' ' '")).toBe(
        "daemon nobody root user",
      );
      expect(await output("cat /etc/shadow")).not.toMatch(/\$/);
    });

    it("its own processes only", async () => {
      const pids = (await output("ls /proc | grep -c '^[0-9]'")) as string;

      expect(Number(pids)).toBeLessThan(10);
    });

    it("a name, a loopback device and nothing else on the network", async () => {
      expect(await output("cat /proc/sys/kernel/hostname")).toBe("sandbox");
      expect(await output("tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '")).toBe("lo");
      expect(await output("cat /proc/net/if_inet6 | cut -c1-32")).toMatch(/^0+1$/);
    });

    it("six devices, its own terminals and shared memory", async () => {
      expect(await output("stat -c '%F:%n' /dev/* | sed -n 's/^char.*://p' | tr '\\n' ' '")).toBe(
        "/dev/full /dev/null /dev/random /dev/tty /dev/urandom /dev/zero",
      );
      expect(await output("ls /dev/pts")).toBe("ptmx");
      expect((await run(seen, "echo hello >/dev/shm/x && cat /dev/shm/x")).output).toBe("hello\n");
    });

    it("places to write for everyone, and a home for its user", async () => {
      const { output } = await run(
        seen,
        "stat -c '%a %U' /tmp /var/tmp /home/user; echo x >/tmp/x",
      );

      expect(output).toBe(
        `1777 root\n1777 root\n755 ${isRoot ? "user" : output.split(" ").at(-1)?.trim()}\n`,
      );
    });

    it("a sane path in a login shell", async () => {
      expect(await output("HOME=/home/user bash -lc 'echo $PATH'")).toMatch(/:\/usr\/bin:/);
    });
  });

  describe("doesn't see", () => {
    const servers: Server[] = [];
    const listen = (at: string | { port: number; host: string }): Promise<Server> =>
      new Promise((resolve) => {
        const server = createServer((socket) => socket.end("host"));
        servers.push(server);
        server.listen(at as string, () => resolve(server));
      });

    afterAll(() => {
      for (const server of servers) server.close();
    });

    it.each(["/var/run/docker.sock", "/run/dbus", "/boot", "/etc/ssh", "/etc/ssl/private"])(
      "%s",
      async (path) => {
        expect(await output(`ls -d ${path}`)).toMatch(/No such file/);
      },
    );

    it("the data directory", async () => {
      writeFileSync(join(bench.dataDir, "secret"), "secret");

      expect(await output(`cat ${bench.dataDir}/secret`)).toMatch(/No such file/);
      expect(await output(`ls ${bench.dataDir}/local`)).toMatch(/No such file/);
    });

    it("the host's services on loopback", async () => {
      const server = await listen({ port: 0, host: "127.0.0.1" });
      const address = server.address();
      const port = typeof address === "object" ? address?.port : 0;

      expect(await output(connectTo(`{port: ${port}, host: "127.0.0.1"}`))).toBe("ECONNREFUSED");
    });

    it("the host's abstract sockets", async () => {
      const name = `\\0soulbox-test-${process.pid}`;
      await listen(name.replace("\\0", "\0"));

      expect(await output(connectTo(`"${name}"`))).toBe("ECONNREFUSED");
    });

    it("descriptors of the server", async () => {
      const agentPath = join(bench.dataDir, "lister");
      const script =
        "#!/bin/sh\nreadlink /proc/1/fd/* >/tmp/fds; mv /tmp/fds /tmp/done; sleep 600\n";
      writeFileSync(agentPath, script, { mode: 0o755 });
      const launchId = aLaunchId();
      const lister = bench.reopen({ agentPath });

      const { detail } = await lister.launch(requestOf(launchId), signal());
      const path = `/proc/${/pid (\d+)/.exec(detail)?.[1]}/root/tmp/done`;
      await expect.poll(() => existsSync(path)).toBe(true);
      const targets = readFileSync(path, "utf8").trim().split("\n");
      await lister.terminate(refOf(launchId), signal());

      // Its input and output, what plugs a leak, its own script and output.
      expect(targets.length).toBeGreaterThanOrEqual(3);
      for (const target of targets)
        expect(target).toMatch(/^(\/dev\/null|\/tmp\/fds|\/\.soulbox\/.*)$/);
    });

    it("the server's environment", async () => {
      expect(await output("cat /proc/*/environ 2>/dev/null | tr '\\0' '\\n'")).not.toContain(
        bench.dataDir,
      );
    });
  });

  describe("may not", () => {
    it("have more capabilities than a few, in any of its processes", async () => {
      const sets = await output(
        "for p in /proc/[0-9]*; do grep -q '^State:.Z' $p/status || grep ^Cap $p/status; done",
      );

      // CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, NET_BIND_SERVICE
      const allowed = 0x4fbn;
      for (const [, set] of sets.matchAll(/:\s+([0-9a-f]+)/g)) {
        expect(BigInt(`0x${set}`) & ~allowed).toBe(0n);
      }
    });

    it.each([
      ["mount", "mount -t tmpfs none /mnt"],
      ["make namespaces as root", "unshare --mount true"],
      ["make user namespaces", "unshare --user true"],
      ["make device nodes", "mknod /tmp/node b 1 1"],
      ["change the kernel's settings", "echo x >/proc/sys/kernel/core_pattern"],
      ["change the host's devices", "chmod 600 /dev/null"],
      ["read the kernel's log", "dmesg"],
      ["unmount what hides things", "umount /proc/sys"],
    ])("%s", async (_, command) => {
      expect((await run(seen, command, "root")).code).not.toBe(0);
      expect((await run(seen, command)).code).not.toBe(0);
    });

    it("talk to kernel facilities that have no namespace", async () => {
      if (bench.probe.filterLoaders.length === 0) return;
      const script =
        "use Socket; for (38, 40) { socket(S, $_, 5, 0) or socket(S, $_, 1, 0) or print 0+$!, q( ) }";

      expect(await output(`perl -e '${script}'`)).toBe("97 97");
    });
  });

  describe("is held to", () => {
    it("its disk, which then is full for it alone", async () => {
      const { output } = await run(
        seen,
        `head -c 1G /dev/zero >/tmp/big; stat -c %s /tmp/big; rm /tmp/big`,
      );

      expect(output).toMatch(/No space left on device/);
      expect(Number(/^\d+$/m.exec(output)?.[0])).toBeLessThanOrEqual(
        1.1 * SMALL.diskMib * 1024 * 1024,
      );
    });

    it("its memory", async ({ skip }) => {
      if (bench.probe.cgroups.parents.memory === undefined)
        return skip("memory isn't limited here");
      const hog = `perl -e '$x = "x" x (1024 * 1024 * ${2 * SMALL.memoryMib}); print length $x'`;

      const { code, output } = await run(seen, `${hog}; echo " $?"`);

      expect(code).toBe(0);
      expect(output).toMatch(/137/);
      expect((await run(seen, "echo alive")).output).toBe("alive\n");
    });

    it("a number of processes, and recovers from a fork bomb", async ({ skip }) => {
      if (bench.probe.cgroups.parents.pids === undefined)
        return skip("processes aren't limited here");
      const bomb =
        "perl -e 'my $n = 0; while (defined(my $p = fork)) { $p or close STDOUT, close STDERR, sleep 600; $n++ } print $n'";

      const { output } = await run(seen, bomb);
      await run(seen, "kill -9 -1");

      expect(Number(output)).toBeGreaterThan(PIDS_MAX / 2);
      expect(Number(output)).toBeLessThan(PIDS_MAX);
      expect((await run(seen, "echo alive")).output).toBe("alive\n");
    });

    it("its share of the processor", async ({ skip }) => {
      if (bench.probe.cgroups.parents.cpu === undefined) return skip("CPU isn't limited here");
      const slow = await bench.launch({ resources: { ...SMALL, cpuMilli: 200 } });
      const spin =
        "perl -e 'use Time::HiRes \"time\"; $e = time + 1; 1 while time < $e; print +(times)[0]'";

      const { output } = await run(slow, spin);

      expect(Number(output)).toBeLessThan(0.6);
    });
  });

  it("keeps its agent when a user kills all there is", async () => {
    await run(seen, "sleep 600 & kill -9 -1");

    expect((await run(seen, "echo alive")).output).toBe("alive\n");
  });

  it("is not disturbed by signals to the server's process group", async () => {
    const [, pid] = /pid (\d+)/.exec(seen.detail) ?? [];

    expect(
      execFileSync("ps", ["-o", "sid=", "-p", String(pid)])
        .toString()
        .trim(),
    ).not.toBe(
      execFileSync("ps", ["-o", "sid=", "-p", String(process.pid)])
        .toString()
        .trim(),
    );
  });

  it("keeps its agent when root kills all there is", async () => {
    await run(seen, "sleep 600 & kill -9 -1", "root");
    await run(seen, "kill -9 1", "root");

    expect((await run(seen, "echo alive")).output).toBe("alive\n");
  });

  it("ends when its agent ends, and says so", async () => {
    const other = await bench.launch();
    const [, pid] = /pid (\d+)/.exec(other.detail) ?? [];
    process.kill(Number(pid), "SIGKILL");

    const ref = { region: "local", launchId: other.launchId, nativeId: undefined };
    await expect
      .poll(async () => (await bench.provider.inspect(ref, AbortSignal.timeout(5000))).phase)
      .toBe("gone");
  });
});

/** A command that prints why a connection fails, or what it was sent. */
function connectTo(to: string): string {
  const script = `const s = require("net").connect(${to}); s.on("error", (e) => console.log(e.code)); s.on("data", (d) => console.log(String(d)))`;
  return `node -e '${script}'`;
}
