/**
 * Plays histories from consecutive seeds and stops at the first that breaks a promise.
 *
 * `--seeds N` how many (default 1000) · `--from S` the first (default 1) · `--events N` happenings
 * before the calm (default 320) · `--trace` prints the whole history of a failing seed.
 */
import { parseArgs } from "node:util";
import { simulate } from "./run.ts";

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "1000" },
    from: { type: "string", default: "1" },
    events: { type: "string", default: "320" },
    trace: { type: "boolean", default: false },
  },
});
const seeds = Number(values.seeds);
const from = Number(values.from);
const events = Number(values.events);
const beganAtMs = performance.now();
let total = 0;
for (let seed = from; seed < from + seeds; seed += 1) {
  const result = await simulate(seed, events, values.trace ? 100_000 : 20);
  total += result.events;
  if (result.violations.length === 0) continue;
  console.log(`Seed ${seed} breaks a promise after ${result.events} events:`);
  for (const violation of result.violations) console.log(`  ${violation}`);
  console.log(result.history.map((line) => `    ${line}`).join("\n"));
  console.log(`Again: npm run sim -- --seeds 1 --from ${seed} --events ${events} --trace`);
  process.exit(1);
}
const seconds = (performance.now() - beganAtMs) / 1000;
console.log(
  `${seeds} seeds from ${from}: ${total} events, every promise held ` +
    `(${seconds.toFixed(1)} s, ${Math.round(total / seconds)} events/s)`,
);
