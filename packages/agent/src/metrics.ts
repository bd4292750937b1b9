import { readFileSync, statfsSync } from "node:fs";
import { availableParallelism } from "node:os";

/** Figures of the sandbox. Sizes in bytes unless the name says MiB. */
export interface Metrics {
  /** Unix seconds. */
  readonly ts: number;
  readonly cpu_count: number;
  /** Percent of all processors together, 0 to 100, since the last answer. */
  readonly cpu_used_pct: number;
  readonly mem_total: number;
  readonly mem_used: number;
  readonly mem_cache: number;
  readonly mem_total_mib: number;
  readonly mem_used_mib: number;
  readonly disk_used: number;
  readonly disk_total: number;
}

const MIB = 1024 * 1024;

function readText(...paths: readonly string[]): string | undefined {
  for (const path of paths) {
    try {
      return readFileSync(path, "utf8");
    } catch {
      // Which of them exists depends on the host's cgroup version.
    }
  }
  return undefined;
}

function readNumber(...paths: readonly string[]): number | undefined {
  const number = Number.parseInt(readText(...paths) ?? "", 10);
  return Number.isNaN(number) ? undefined : number;
}

/** Measures; holds the last processor time to tell the use between two answers. */
export class Meter {
  #last = { atMs: performance.now(), cpuMs: cpuTimeMs() };

  /** Reads all figures: the cgroup's where there is one with limits, else the machine's. */
  read(): Metrics {
    const count = cpuCount();
    const now = { atMs: performance.now(), cpuMs: cpuTimeMs() };
    const passedMs = Math.max(1, now.atMs - this.#last.atMs);
    const share = ((now.cpuMs - this.#last.cpuMs) / passedMs / count) * 100;
    this.#last = now;
    const memory = readMemory();
    const disk = statfsSync("/");
    return {
      ts: Math.floor(Date.now() / 1000),
      cpu_count: Math.max(1, Math.ceil(count)),
      cpu_used_pct: Math.round(Math.min(100, Math.max(0, share)) * 100) / 100,
      mem_total: memory.total,
      mem_used: memory.used,
      mem_cache: memory.cache,
      mem_total_mib: Math.floor(memory.total / MIB),
      mem_used_mib: Math.floor(memory.used / MIB),
      disk_used: (disk.blocks - disk.bfree) * disk.bsize,
      disk_total: disk.blocks * disk.bsize,
    };
  }
}

/** Processors that the sandbox may use, a fraction where a quota says so. */
function cpuCount(): number {
  const all = availableParallelism();
  const [quota, period] = (readText("/sys/fs/cgroup/cpu.max") ?? "").trim().split(" ").map(Number);
  if (quota !== undefined && period !== undefined && quota > 0)
    return Math.min(all, quota / period);
  const quotaV1 = readNumber("/sys/fs/cgroup/cpu/cpu.cfs_quota_us");
  const periodV1 = readNumber("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
  return quotaV1 !== undefined && quotaV1 > 0 && periodV1 ? Math.min(all, quotaV1 / periodV1) : all;
}

/** Processor time used so far, milliseconds. */
function cpuTimeMs(): number {
  const usageUs = /^usage_usec (\d+)/m.exec(readText("/sys/fs/cgroup/cpu.stat") ?? "")?.[1];
  if (usageUs !== undefined) return Number(usageUs) / 1000;
  const usageNs = readNumber(
    "/sys/fs/cgroup/cpuacct/cpuacct.usage",
    "/sys/fs/cgroup/cpu/cpuacct.usage",
  );
  if (usageNs !== undefined) return usageNs / 1e6;
  const fields = (readText("/proc/stat") ?? "").split("\n")[0]?.split(/\s+/).slice(1).map(Number);
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0] = fields ?? [];
  return (user + nice + system + irq + softirq) * 10;
}

function readMemory(): { total: number; used: number; cache: number } {
  const info = readText("/proc/meminfo") ?? "";
  const kib = (name: string) => Number(new RegExp(`^${name}: +(\\d+)`, "m").exec(info)?.[1] ?? 0);
  const machine = kib("MemTotal") * 1024;
  const limit = readNumber(
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
  );
  const current = readNumber(
    "/sys/fs/cgroup/memory.current",
    "/sys/fs/cgroup/memory/memory.usage_in_bytes",
  );
  if (limit === undefined || current === undefined || limit >= machine) {
    const cache = (kib("Cached") + kib("Buffers")) * 1024;
    return { total: machine, used: machine - kib("MemAvailable") * 1024, cache };
  }
  const stat = readText("/sys/fs/cgroup/memory.stat", "/sys/fs/cgroup/memory/memory.stat") ?? "";
  const cache = Number(/^(?:file|total_cache|cache) (\d+)/m.exec(stat)?.[1] ?? 0);
  return { total: limit, used: Math.max(0, current - cache), cache };
}
