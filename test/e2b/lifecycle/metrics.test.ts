import type { Sandbox, SandboxMetrics, SandboxMetricsOpts } from "e2b";
import { describe, expect } from "vitest";
import { it, sharedSandbox } from "../fixture.ts";

const MINUTE_MS = 60_000;

/** Metrics are sampled; the first sample must be there within this time. */
const SAMPLE_MS_MAX = 20_000;

const shared = sharedSandbox();

async function sampled(sandbox: Sandbox, range?: SandboxMetricsOpts): Promise<SandboxMetrics[]> {
  let metrics: SandboxMetrics[] = [];
  await expect
    .poll(
      async () => {
        metrics = await sandbox.getMetrics(range);
        return metrics.length;
      },
      { timeout: SAMPLE_MS_MAX, interval: 500 },
    )
    .toBeGreaterThan(0);
  return metrics;
}

describe("getMetrics", () => {
  it("tells use and size of processor, memory and disk", async () => {
    const { cpuCount } = await shared.sandbox.getInfo();

    const metrics = await sampled(shared.sandbox);

    for (const each of metrics) {
      expect(each.timestamp.getTime()).toBeLessThanOrEqual(Date.now() + 1000);
      expect(each.cpuCount).toBe(cpuCount);
      expect(each.cpuUsedPct).toBeGreaterThanOrEqual(0);
      expect(each.memTotal).toBeGreaterThan(0);
      expect(each.memUsed).toBeGreaterThan(0);
      expect(each.memUsed).toBeLessThanOrEqual(each.memTotal);
      expect(each.memCache).toBeGreaterThanOrEqual(0);
      expect(each.diskTotal).toBeGreaterThan(0);
      expect(each.diskUsed).toBeGreaterThanOrEqual(0);
      expect(each.diskUsed).toBeLessThanOrEqual(each.diskTotal);
    }
  });

  it("keeps to the range of time that was asked for", async () => {
    const { startedAt } = await shared.sandbox.getInfo();
    const end = new Date(Date.now() + MINUTE_MS);

    const within = await sampled(shared.sandbox, { start: startedAt, end });
    const before = await shared.sandbox.getMetrics({
      start: new Date(startedAt.getTime() - 2 * MINUTE_MS),
      end: new Date(startedAt.getTime() - MINUTE_MS),
    });

    for (const { timestamp } of within) {
      // The range is sent in whole seconds.
      expect(timestamp.getTime()).toBeGreaterThanOrEqual(startedAt.getTime() - 1000);
      expect(timestamp.getTime()).toBeLessThanOrEqual(end.getTime());
    }
    expect(before).toEqual([]);
  });
});
