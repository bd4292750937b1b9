import { Agent, request } from "node:http";

/** The middle of several measurements, in their own unit. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

/** How long `run` takes, milliseconds. */
export async function timed(run: () => Promise<unknown>): Promise<number> {
  const beganAtMs = performance.now();
  await run();
  return performance.now() - beganAtMs;
}

/** One line of the result. */
export interface Row {
  readonly what: string;
  readonly measured: string;
  readonly floor: string;
  readonly ratio: number;
  readonly target: string;
  readonly isMet: boolean;
}

/**
 * Alternates two things and compares their medians, so that a slow moment of the machine hits both.
 * The first round of each is not counted.
 */
export async function against(
  rounds: number,
  ours: () => Promise<number>,
  floor: () => Promise<number>,
): Promise<{ readonly ours: number; readonly floor: number }> {
  const samples = { ours: [] as number[], floor: [] as number[] };
  for (let round = 0; round <= rounds; round += 1) {
    const a = await ours();
    const b = await floor();
    if (round === 0) continue;
    samples.ours.push(a);
    samples.floor.push(b);
  }
  return { ours: median(samples.ours), floor: median(samples.floor) };
}

/** Requests per second of a GET over 16 connections that are kept open, for `ms`. */
export async function throughput(
  url: string,
  headers: Readonly<Record<string, string>>,
  ms: number,
): Promise<number> {
  const agent = new Agent({ keepAlive: true, maxSockets: 16 });
  const beganAtMs = performance.now();
  const untilMs = beganAtMs + ms;
  let count = 0;
  const one = () =>
    new Promise<void>((resolve, reject) => {
      const sent = request(url, { agent, headers }, (response) => {
        if (response.statusCode !== 200)
          reject(new Error(`${url} answered ${response.statusCode}`));
        response.resume();
        response.on("end", resolve);
      });
      sent.on("error", reject);
      sent.end();
    });
  await Promise.all(
    Array.from({ length: 16 }, async () => {
      while (performance.now() < untilMs) {
        await one();
        count += 1;
      }
    }),
  );
  agent.destroy();
  return count / ((performance.now() - beganAtMs) / 1000);
}
