import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { getRequestListener } from "@hono/node-server";
import { Sandbox } from "e2b";
import { Hono } from "hono";
import { openForReading } from "../../functions/compose.ts";
import type { BareEngine } from "./engine.ts";
import { against, median, type Row, throughput, timed } from "./measure.ts";

/** The running server and where it keeps its state. */
export interface Bench {
  readonly url: string;
  readonly apiKey: string;
  readonly dataDir: string;
  readonly engine: BareEngine;
}

const MS = (value: number) => `${value.toFixed(1)} ms`;

function options({ url, apiKey }: Bench) {
  return { apiKey, apiUrl: url, sandboxUrl: url, timeoutMs: 600_000 };
}

function atMost(what: string, ours: number, floor: number, max: number, name: string): Row {
  const ratio = ours / floor;
  const target = `≤ ${max} × ${name}`;
  return { what, measured: MS(ours), floor: MS(floor), ratio, target, isMet: ratio <= max };
}

/** Cold create and first output of `node -v`, the SDK included. */
export async function coldRows(bench: Bench): Promise<readonly Row[]> {
  const cold = (allowInternetAccess: boolean) => async () => {
    let sandbox: Sandbox | undefined;
    const ms = await timed(async () => {
      sandbox = await Sandbox.create("base", { ...options(bench), allowInternetAccess });
      await sandbox.commands.run("node -v");
    });
    await sandbox?.kill();
    return ms;
  };
  const online = await against(9, cold(true), bench.engine.cold);
  const offline = await against(9, cold(false), bench.engine.cold);
  const name = "engine create + start + exec (bridge)";
  return [
    atMost("cold create + `node -v`, SDK", online.ours, online.floor, 1.1, name),
    atMost("the same, internet off", offline.ours, offline.floor, 0.8, name),
  ];
}

/** `true` through SDK and gateway. */
export async function execRow(bench: Bench): Promise<Row> {
  const sandbox = await Sandbox.create("base", options(bench));
  const run = () => timed(() => sandbox.commands.run("true"));
  const { ours, floor } = await against(30, run, bench.engine.exec);
  await sandbox.kill();
  return atMost("exec `true`, SDK and gateway", ours, floor, 0.2, "engine exec");
}

/** 100 MB up and down, through the gateway and straight to the agent. */
export async function fileRows(bench: Bench): Promise<readonly Row[]> {
  const sandbox = await Sandbox.create("base", options(bench));
  const { store, close } = openForReading(bench.dataDir);
  const row = await store.get(sandbox.sandboxId as Parameters<typeof store.get>[0]);
  close();
  const direct = row?.agentAddress ?? "";
  const info = await fetch(`${bench.url}/v1/sandboxes/${sandbox.sandboxId}`, {
    headers: { "x-api-key": bench.apiKey },
  });
  const { agent } = (await info.json()) as { agent: { accessToken: string } };
  const headers = { "x-access-token": agent.accessToken, "e2b-sandbox-id": sandbox.sandboxId };
  const body = Buffer.alloc(100_000_000, "soulbox ");
  const path = "/files?path=/home/user/big&username=user";
  const put = (origin: string) => () =>
    timed(async () => {
      const sent = { ...headers, "content-type": "application/octet-stream" };
      const answer = await fetch(`${origin}${path}`, { method: "POST", headers: sent, body });
      if (!answer.ok) throw new Error(`upload: ${answer.status} ${await answer.text()}`);
    });
  const get = (origin: string) => () =>
    timed(async () => {
      const answer = await fetch(`${origin}${path}`, { headers });
      if (!answer.ok || answer.body === null) throw new Error(`download: ${answer.status}`);
      for await (const _ of answer.body);
    });
  const up = await against(5, put(bench.url), put(direct));
  const down = await against(5, get(bench.url), get(direct));
  await sandbox.kill();
  const speed = (what: string, { ours, floor }: typeof up): Row => {
    const ratio = floor / ours;
    const rate = (ms: number) => `${(100_000 / ms).toFixed(0)} MB/s`;
    return {
      what,
      measured: rate(ours),
      floor: rate(floor),
      ratio,
      target: "≥ 0.5 × straight to the agent",
      isMet: ratio >= 0.5,
    };
  };
  return [speed("100 MB up, gateway", up), speed("100 MB down, gateway", down)];
}

/** What one more idle sandbox takes of the machine's memory, its shim included. */
export async function memoryRow(bench: Bench): Promise<Row> {
  const COUNT = 30;
  const availableMib = () =>
    Number(/MemAvailable:\s+(\d+)/.exec(readFileSync("/proc/meminfo", "utf8"))?.[1]) / 1024;
  const settled = async () => {
    const samples: number[] = [];
    for (let count = 0; count < 10; count += 1) {
      await new Promise((resolve) => setTimeout(resolve, 300));
      samples.push(availableMib());
    }
    return median(samples);
  };
  const first = await Sandbox.create("base", options(bench));
  const before = await settled();
  const sandboxes: Sandbox[] = [];
  for (let count = 0; count < COUNT; count += 1) {
    sandboxes.push(await Sandbox.create("base", options(bench)));
  }
  const each = (before - (await settled())) / COUNT;
  await Promise.all([first, ...sandboxes].map((sandbox) => sandbox.kill()));
  return {
    what: `marginal memory per idle sandbox, N = ${COUNT}`,
    measured: `${each.toFixed(1)} MiB`,
    floor: "–",
    ratio: each / 12,
    target: "≤ 12 MB",
    isMet: each <= 12,
  };
}

/** Requests per second for one sandbox's row, against a bare Hono route in a process of the same kind. */
export async function getRow(bench: Bench): Promise<Row> {
  const sandbox = await Sandbox.create("base", options(bench));
  const app = new Hono().get("/", (c) => c.json({ id: "sb", state: "running" }));
  const server = createServer(getRequestListener(app.fetch)).listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  const ours = `${bench.url}/v1/sandboxes/${sandbox.sandboxId}`;
  const rates = await against(
    3,
    () => throughput(ours, { "x-api-key": bench.apiKey }, 2000),
    () => throughput(`http://127.0.0.1:${port}/`, {}, 2000),
  );
  server.close();
  server.closeAllConnections();
  await sandbox.kill();
  const ratio = rates.ours / rates.floor;
  return {
    what: "`GET /v1/sandboxes/{id}`",
    measured: `${rates.ours.toFixed(0)}/s`,
    floor: `${rates.floor.toFixed(0)}/s`,
    ratio,
    target: "≥ 0.4 × a bare Hono route",
    isMet: ratio >= 0.4,
  };
}
