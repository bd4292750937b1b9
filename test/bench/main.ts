/**
 * `npm run bench`: speed and size as ratios against a floor measured in the same run. Prints a table
 * for `docs/benchmarks.md`; a missed target is marked, not failed: machines differ.
 */
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { cpus, release, tmpdir, totalmem } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { ensureEngine } from "../engine.ts";
import { bareEngine } from "./engine.ts";
import { manyRowsRow } from "./many-rows.ts";
import type { Row } from "./measure.ts";
import { coldRows, execRow, fileRows, getRow, memoryRow } from "./rows.ts";

const PORT = 18_473;
const host = await ensureEngine((line) => console.error(line));
process.env.DOCKER_HOST = `unix://${host.socketPath}`;
const dataDir = mkdtempSync(join(tmpdir(), "soulbox-bench-"));
const server = spawn(process.execPath, [join(import.meta.dirname, "../../functions/local.ts")], {
  env: {
    ...process.env,
    SOULBOX_PORT: String(PORT),
    SOULBOX_DATA_DIR: dataDir,
    SOULBOX_PROVIDERS: "docker",
    SOULBOX_LOG: "error",
  },
  stdio: ["ignore", "pipe", "inherit"],
});
const apiKey = await new Promise<string>((resolve, reject) => {
  server.on("exit", (code) => reject(new Error(`The server ended with ${code}.`)));
  createInterface({ input: server.stdout }).on("line", (line) => {
    const key = /^E2B_API_KEY=(.+)$/.exec(line)?.[1];
    if (key !== undefined) resolve(key);
    else console.error(line);
  });
});
const images = execFileSync(
  "docker",
  ["-H", process.env.DOCKER_HOST, "images", "-q", "soulbox/base"],
  {
    encoding: "utf8",
  },
);
const engine = await bareEngine(images.split("\n")[0] ?? "");
const bench = { url: `http://127.0.0.1:${PORT}`, apiKey, dataDir, engine };

const rows: Row[] = [];
rows.push(...(await coldRows(bench)), await execRow(bench), ...(await fileRows(bench)));
rows.push(await getRow(bench), await memoryRow(bench), await manyRowsRow());
await engine.close();
server.removeAllListeners("exit");
const ended = new Promise((resolve) => server.on("exit", resolve));
server.kill("SIGTERM");
await ended;
rmSync(dataDir, { recursive: true, force: true });
await host.stop();

const memoryGib = Math.round(totalmem() / 2 ** 30);
console.log(
  `${new Date().toISOString().slice(0, 10)} · ${cpus().length} cores · ${memoryGib} GiB · ` +
    `Linux ${release()} · Node ${process.version}\n`,
);
console.log("| What | measured | floor | ratio | target | |");
console.log("|---|---:|---:|---:|---|---|");
for (const { what, measured, floor, ratio, target, isMet } of rows) {
  const mark = isMet ? "met" : "**missed**";
  console.log(`| ${what} | ${measured} | ${floor} | ${ratio.toFixed(2)} | ${target} | ${mark} |`);
}
