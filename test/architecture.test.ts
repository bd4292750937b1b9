import { readdirSync, readFileSync, statSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { describe, expect, it } from "vitest";

const ROOT = resolve(import.meta.dirname, "..");

/** A source file and what it imports. */
interface Source {
  /** Relative to the root, with slashes. */
  readonly path: string;
  /** Workspace or folder that it belongs to: `packages/core`, `adapters/docker`, `functions`. */
  readonly room: string;
  readonly text: string;
  readonly imports: readonly string[];
}

function filesBelow(folder: string): string[] {
  return readdirSync(join(ROOT, folder)).flatMap((name) => {
    const path = `${folder}/${name}`;
    if (name === "node_modules") return [];
    if (statSync(join(ROOT, path)).isDirectory()) return filesBelow(path);
    return path.endsWith(".ts") ? [path] : [];
  });
}

function roomOf(path: string): string {
  const [top = "", second = ""] = path.split("/");
  return top === "packages" || top === "adapters" ? `${top}/${second}` : top;
}

function read(path: string): Source {
  const text = readFileSync(join(ROOT, path), "utf8");
  const found = text.matchAll(/(?:from|import)\s*\(?\s*"([^"]+)"/g);
  const imports = [...found].flatMap(([, name]) => (name === undefined ? [] : [name]));
  return { path, room: roomOf(path), text, imports };
}

const SOURCES = ["packages", "adapters", "functions", "infra"].flatMap(filesBelow).map(read);
const PROGRAM = SOURCES.filter(({ path }) => !/\.test\.ts$|\/testing\.ts$/.test(path));

/** The room that an import leads to; `undefined` for a package from outside. */
function target(source: Source, name: string): string | undefined {
  if (name.startsWith(".")) {
    const path = relative(ROOT, resolve(ROOT, source.path, "..", name)).replaceAll("\\", "/");
    return roomOf(path);
  }
  const own = /^@soulbox\/(adapter-)?([a-z-]+)/.exec(name);
  if (own === null) return undefined;
  if (own[1] !== undefined) return `adapters/${own[2]}`;
  return own[2] === "functions" || own[2] === "test" ? own[2] : `packages/${own[2]}`;
}

function arrows(source: Source): readonly string[] {
  return source.imports
    .flatMap((name) => target(source, name) ?? [])
    .filter((room) => room !== source.room);
}

/** What each room may import of ours. */
function allowed(room: string): readonly string[] {
  if (room === "packages/protocol" || room === "infra") {
    return room === "infra" ? ["packages/core"] : [];
  }
  if (room === "packages/core" || room === "packages/agent") return ["packages/protocol"];
  if (room === "packages/api" || room === "packages/gateway" || room.startsWith("adapters/")) {
    return ["packages/protocol", "packages/core"];
  }
  return SOURCES.map((source) => source.room).concat("packages/agent");
}

describe("architecture", () => {
  it("reads the sources at all", () => {
    expect(PROGRAM.length).toBeGreaterThan(100);
    expect(new Set(PROGRAM.map(({ room }) => room)).size).toBeGreaterThan(8);
  });

  it("lets arrows run one way only", () => {
    const wrong = PROGRAM.flatMap((source) =>
      arrows(source)
        .filter((room) => !allowed(source.room).includes(room))
        .map((room) => `${source.path} imports ${room}`),
    );

    expect(wrong).toEqual([]);
  });

  it("names concrete adapters in functions/compose.ts alone", () => {
    const wrong = PROGRAM.filter(({ room }) => room === "functions")
      .filter(({ path }) => path !== "functions/compose.ts")
      .filter((source) => arrows(source).some((room) => room.startsWith("adapters/")))
      .map(({ path }) => path);

    expect(wrong).toEqual([]);
  });

  it("keeps core free of input, output, time, chance and environment", () => {
    const wrong = PROGRAM.filter(({ room }) => room === "packages/core").flatMap((source) => {
      const code = source.text.replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, "");
      const found = code.match(
        /"node:|\bprocess\.|\bDate\.now|new Date\b|\bMath\.random|\bcrypto\b|\bsetTimeout\b|\bsetInterval\b|\bfetch\(|\bBun\b|\bperformance\b|\bconsole\b/,
      );
      return found === null ? [] : [`${source.path}: ${found[0]}`];
    });

    expect(wrong).toEqual([]);
  });

  it("gives core no dependency but protocol", () => {
    const wrong = PROGRAM.filter(({ room }) => room === "packages/core").flatMap((source) =>
      source.imports
        .filter((name) => !name.startsWith(".") && name !== "@soulbox/protocol")
        .map((name) => `${source.path}: ${name}`),
    );

    expect(wrong).toEqual([]);
  });

  it("keeps the environment out of adapters, api and gateway", () => {
    const wrong = PROGRAM.filter(({ room }) => /^adapters\/|packages\/(api|gateway)/.test(room))
      .filter(({ text }) => /\bprocess\.env\b/.test(text))
      .map(({ path }) => path);

    expect(wrong).toEqual([]);
  });

  it("has no enums, namespaces, default exports or re-exports of other packages", () => {
    const wrong = PROGRAM.flatMap(({ path, text }) => {
      const found = text.match(
        /^\s*(export )?(const )?enum \w|^\s*(export )?namespace \w|^export default|^export .* from "@soulbox/m,
      );
      return found === null ? [] : [`${path}: ${found[0].trim()}`];
    });

    expect(wrong).toEqual([]);
  });

  it("has no escapes from the type checker in core and protocol", () => {
    const wrong = PROGRAM.filter(({ room }) => /packages\/(core|protocol)/.test(room)).flatMap(
      ({ path, text }) => {
        const found = text.match(
          /: any\b|as any\b|as unknown as|@ts-(ignore|expect-error|nocheck)/,
        );
        return found === null ? [] : [`${path}: ${found[0]}`];
      },
    );

    expect(wrong).toEqual([]);
  });

  it("imports in no circle within a room", () => {
    const graph = new Map(
      PROGRAM.map((source) => [
        source.path,
        source.imports
          .filter((name) => name.startsWith("."))
          .map((name) => relative(ROOT, resolve(ROOT, source.path, "..", name))),
      ]),
    );
    const types = new Set<string>();
    for (const { path, text } of PROGRAM) {
      for (const [, name] of text.matchAll(/import type [^;]*? from "(\.[^"]+)"/g)) {
        types.add(`${path} ${relative(ROOT, resolve(ROOT, path, "..", name ?? ""))}`);
      }
    }
    const circles: string[] = [];
    const done = new Set<string>();
    const visit = (path: string, trail: readonly string[]): void => {
      if (trail.includes(path)) {
        circles.push([...trail.slice(trail.indexOf(path)), path].join(" → "));
        return;
      }
      if (done.has(path)) return;
      for (const next of graph.get(path) ?? []) {
        // Types are gone when the program runs: a circle of them is none.
        if (!types.has(`${path} ${next}`)) visit(next, [...trail, path]);
      }
      done.add(path);
    };
    for (const path of graph.keys()) visit(path, []);

    expect(circles).toEqual([]);
  });
});
