import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { CASES, EXCEPTIONS, TIER_SIZES } from "./cases.ts";
import { DIFFERENCES } from "./differences.ts";

/** `it("title", …)`, or a template that ends with the name of a variant. */
const TITLE = /^\s*it\(\s*(?:"([^"]+)"|'([^']+)'|`([^`]+)`),/gm;

/** The names that stand for `${name}` in the templates of a file. */
const VARIANTS: Readonly<Record<string, readonly string[]>> = {
  "lifecycle/list.test.ts": ["environment", "client"],
  "files/read.test.ts": ["plain", "gzip"],
  "files/write.test.ts": ["form", "octet stream"],
};

const titles = await titlesByFile();

async function titlesByFile(): Promise<ReadonlyMap<string, readonly string[]>> {
  const names = await readdir(import.meta.dirname, { recursive: true });
  const found = new Map<string, string[]>();
  for (const file of names.filter((name) => name.endsWith(".test.ts"))) {
    const source = await readFile(join(import.meta.dirname, file), "utf8");
    const own = [...source.matchAll(TITLE)].flatMap(([, double, single, template]) =>
      template === undefined
        ? [double ?? single ?? ""]
        : (VARIANTS[file] ?? []).map((variant) => template.replace(/\$\{name\}/, variant)),
    );
    found.set(file, own);
  }
  return found;
}

function countBy<T>(values: readonly T[]): Map<T, number> {
  const counts = new Map<T, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return counts;
}

describe("cases", () => {
  it("name every published behaviour of the six tiers", () => {
    const tiers = countBy(CASES.map(({ tier }) => tier));

    expect(CASES.length + EXCEPTIONS.length).toBe(158);
    if (EXCEPTIONS.length === 0) expect(Object.fromEntries(tiers)).toEqual(TIER_SIZES);
  });

  it("claim each behaviour by one test of ours, and twice only by two variants", () => {
    const once = countBy(CASES.map(({ file, title }) => `${file} > ${title}`));
    const behaviours = countBy(CASES.map(({ behaviour }) => behaviour));
    const withVariants = CASES.filter(({ title }) => /\([a-z ]+\)$/.test(title));

    expect([...once].filter(([, count]) => count > 1)).toEqual([]);
    for (const { behaviour } of withVariants) expect(behaviours.get(behaviour)).toBe(2);
    const repeated = [...behaviours.values()].filter((count) => count > 1).length;
    expect(repeated * 2).toBe(withVariants.length);
  });

  it("point to tests that exist", () => {
    const missing = CASES.filter(({ file, title }) => !titles.get(file)?.includes(title));

    expect(missing).toEqual([]);
  });

  it("except nothing without a reason", () => {
    const all = [...titles.values()].flat();

    for (const { reason } of [...EXCEPTIONS, ...DIFFERENCES]) expect(reason).not.toBe("");
    for (const { behaviour } of DIFFERENCES) expect(all).toContain(behaviour);
  });

  it("have titles that name one test each", () => {
    const repeated = [...titles].flatMap(([file, own]) =>
      [...countBy(own)].filter(([, count]) => count > 1).map(([title]) => `${file} > ${title}`),
    );

    expect(repeated).toEqual([]);
  });
});
