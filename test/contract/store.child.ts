/**
 * What the tests of crashes and of two processes start beside themselves. Modes: `live` lives
 * sandboxes through and reports each commit after it returned; `raise` counts one row up; `hold`
 * takes the data directory and waits.
 */
import { writeSync } from "node:fs";
import { lockDataDir, openSqlite } from "@soulbox/adapter-sqlite";
import { hasCode, type SandboxId, type Store } from "@soulbox/core";
import { aClosing, anOnce, anOpening, aSandbox, creationOf, moved, moveOf } from "./a-sandbox.ts";

/** Counter of sandboxes that haven't ended. */
export const LIVE = "live";

/** Creates sandboxes, runs and ends them: one commit each, reported as `<id> <version>`. */
async function live(store: Store, firstNumber: number): Promise<never> {
  for (let number = firstNumber; ; number += 1) {
    const id = `kb${String(number).padStart(18, "0")}` as SandboxId;
    const report = (version: number) => writeSync(1, `${id} ${version}\n`);
    const pending = aSandbox({ id, state: "pending" });
    const counters = [{ counter: LIVE, add: 1, max: 1e9 }] as const;
    await store.commit(creationOf(pending, { counters, once: anOnce({ key: id }) }));
    report(1);
    const running = moved(pending, { ...aSandbox({ id }), version: 2 });
    await store.commit(moveOf(pending, running, { entries: [anOpening(running)] }));
    report(2);
    if (number % 3 === 0) continue;
    const ended = moved(running, { ...aSandbox({ id, state: "terminated" }), version: 3 });
    await store.commit(
      moveOf(running, ended, {
        entries: [aClosing(ended)],
        counters: [{ counter: LIVE, add: -1, max: 1e9 }],
      }),
    );
    report(3);
  }
}

/** Raises `tries` of one row, reading and deciding again whenever another process was faster. */
async function raise(store: Store, id: SandboxId, count: number): Promise<void> {
  let lost = 0;
  for (let done = 0; done < count; ) {
    const before = await store.get(id);
    if (before === undefined) throw new Error("the row is gone");
    try {
      await store.commit(moveOf(before, moved(before, { tries: before.tries + 1 })));
      done += 1;
    } catch (thrown) {
      if (!hasCode(thrown, "version_conflict")) throw thrown;
      lost += 1;
    }
  }
  writeSync(1, `lost ${lost}\n`);
}

const [mode, dataDir = "", argument = "", count = "0"] = process.argv.slice(2);
if (mode === "hold") {
  lockDataDir(dataDir);
  writeSync(1, "held\n");
  setInterval(() => {}, 1 << 30);
} else if (mode !== undefined) {
  const { store, close } = openSqlite({ dataDir });
  if (mode === "live") await live(store, Number(argument));
  else await raise(store, argument as SandboxId, Number(count));
  close();
}
