/** Checks the invariants on a data directory, beside a running server too: `npm run verify -- <dir>`. */
import { resolve } from "node:path";
import { all, ControlPlaneError, checkStore, epochMs } from "@soulbox/core";
import { openForReading } from "./compose.ts";

/** A reaper's period and a full batch on a busy machine, milliseconds. */
const LATE_MS_MAX = 60_000;

const dataDir = resolve(process.argv[2] ?? process.env.SOULBOX_DATA_DIR ?? ".soulbox");
const { store, close } = open();
// A row may change between two reads: what is wrong twice, with an unchanged row, is wrong.
const first = await check();
const second = first.length === 0 ? first : await check();
const violations = second.filter((text) => first.includes(text));
close();
for (const text of violations) console.log(text);
console.log(
  violations.length === 0
    ? `${dataDir}: every invariant holds.`
    : `${dataDir}: ${violations.length} promises are broken.`,
);
process.exitCode = violations.length === 0 ? 0 : 1;

function open(): ReturnType<typeof openForReading> {
  try {
    return openForReading(dataDir);
  } catch (error) {
    const isOurs = error instanceof ControlPlaneError;
    console.error(isOurs ? [error.detail, error.hint].filter(Boolean).join(" ") : error);
    process.exit(2);
  }
}

async function check(): Promise<readonly string[]> {
  const entries = await all((cursor) =>
    store.entries({ tenantId: undefined, cursor, limit: 1000 }),
  );
  const rows = await all((cursor) =>
    store.list({ tenantId: undefined, states: undefined, cursor, limit: 1000 }),
  );
  const counters = await store.counters();
  const nowMs = epochMs(Date.now());
  return checkStore({ rows, entries, counters, nowMs, lateMsMax: LATE_MS_MAX }).map(
    ({ invariant, claim }) => `${invariant}: ${claim}`,
  );
}
