/** Loaded before the simulator: plants the bug that SOULBOX_MUTATION names into the core's source. */
import { registerHooks } from "node:module";
import { MUTATIONS } from "./mutations.ts";

const name = process.env.SOULBOX_MUTATION;
const mutation = MUTATIONS.find((it) => it.name === name);
if (mutation === undefined) throw new Error(`There is no mutation ${JSON.stringify(name)}.`);

registerHooks({
  load(url, context, nextLoad) {
    const loaded = nextLoad(url, context);
    if (!url.endsWith(`/packages/core/src/${mutation.file}`)) return loaded;
    const source = Buffer.from(loaded.source as Uint8Array).toString("utf8");
    const parts = source.split(mutation.find);
    if (parts.length !== 2) {
      throw new Error(
        `${mutation.file} holds the text of ${mutation.name} ${parts.length - 1} times.`,
      );
    }
    return { ...loaded, source: parts.join(mutation.replace) };
  },
});
