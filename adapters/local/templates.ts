import { spawnSync } from "node:child_process";
import type { Preparation, Template } from "@soulbox/core";
import { SANDBOX_PATH } from "./rootfs.ts";

/** How a program tells its version. */
interface Program {
  readonly command: readonly [name: string, ...args: string[]];
  readonly version: RegExp;
}

/** By the first part of a template's id, `node` of `node-22` for example. */
const PROGRAMS: Readonly<Record<string, Program>> = {
  python: { command: ["python3", "--version"], version: /^Python (\d+\.\d+)/ },
  node: { command: ["node", "--version"], version: /^v(\d+\.\d+)/ },
  rust: { command: ["rustc", "--version"], version: /^rustc (\d+\.\d+)/ },
  go: { command: ["go", "version"], version: /^go version go(\d+\.\d+)/ },
};

/** Where the sandbox's programs are: below /usr, whatever else is on the server's own path. */
const PATH = SANDBOX_PATH.split(":")
  .filter((dir) => !dir.startsWith("/opt/"))
  .join(":");

/** Version of the host's program, `3.13` for example; `undefined` when there is none. */
export type FindVersion = (program: string) => string | undefined;

/** Asks each program once, and remembers. Takes some 30 ms each. */
export function hostVersions(): FindVersion {
  const known = new Map<string, string | undefined>();
  return (program) => {
    if (!known.has(program)) known.set(program, askVersion(program));
    return known.get(program);
  };
}

/** A Node that can be lent to sandboxes: the server's own, unless it is in /usr already. */
export interface LentNode {
  readonly path: string;
  /** `24.11` for example. */
  readonly version: string;
}

/** The server's own Node, if sandboxes don't see it anyway. */
export function lentNode(): LentNode | undefined {
  const [, version] = /^v(\d+\.\d+)/.exec(process.version) ?? [];
  if (process.release.name !== "node" || version === undefined) return undefined;
  return process.execPath.startsWith("/usr/") ? undefined : { path: process.execPath, version };
}

/**
 * Which Node a template gets at /opt/node: the lent one if the template asks for its version and
 * the host's is another, or if the host has none at all.
 */
export function nodeFor(
  templateId: string,
  find: FindVersion,
  lent: LentNode | undefined,
): LentNode | undefined {
  const host = find("node");
  if (lent === undefined || host === undefined) return lent;
  const [, asked] = /^node-([\d.]+)$/.exec(templateId) ?? [];
  if (asked === undefined || isVersion(host, asked)) return undefined;
  return isVersion(lent.version, asked) ? lent : undefined;
}

/**
 * Whether this machine's programs make the template: nothing is built here. `base` is whatever
 * the host has.
 */
export function prepareLocal(
  template: Pick<Template, "id">,
  find: FindVersion,
  lent: LentNode | undefined,
): Preparation {
  if (template.id === "base") return { state: "ready" };
  const [, name, asked] = /^([a-z]+)-(\d+(?:\.\d+)?)$/.exec(template.id) ?? [];
  if (name === undefined || asked === undefined || !Object.hasOwn(PROGRAMS, name)) {
    const detail = `local runs what the host has in /usr and can't build ${template.id}.`;
    return { state: "failed", detail };
  }
  const host = find(name);
  const found = [host, name === "node" ? lent?.version : undefined].filter(
    (it) => it !== undefined,
  );
  if (found.some((version) => isVersion(version, asked))) return { state: "ready" };
  const has = found.length === 0 ? `no ${name}` : `${name} ${found.join(" and ")}`;
  const detail = `local runs what the host has in /usr: ${has}, not ${name} ${asked}.`;
  return { state: "failed", detail };
}

/** True when `asked`, a major or major and minor, names this version. */
function isVersion(version: string, asked: string): boolean {
  return version === asked || version.startsWith(`${asked}.`);
}

function askVersion(program: string): string | undefined {
  const known = PROGRAMS[program];
  if (known === undefined) return undefined;
  const [name, ...args] = known.command;
  const options = { env: { PATH, HOME: "/nonexistent" }, timeout: 10_000, cwd: "/" };
  const { stdout } = spawnSync(name, args, options);
  return known.version.exec(stdout?.toString() ?? "")?.[1];
}
