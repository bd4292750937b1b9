import { existsSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { ControlPlaneError } from "@soulbox/core";
import { parse, TomlError } from "smol-toml";
import { z } from "zod";

/** Providers that a configuration may name. */
export const PROVIDER_NAMES = ["docker", "local", "memory"] as const;
export type ConfiguredProvider = (typeof PROVIDER_NAMES)[number];

const Flag = z.union([z.boolean(), z.enum(["1", "0", "true", "false"])]).transform((value) => {
  return value === true || value === "1" || value === "true";
});

const Providers = z
  .union([z.string(), z.array(z.string())])
  .transform((value) => (typeof value === "string" ? value.split(",") : value))
  .transform((names) => names.map((name) => name.trim()).filter((name) => name !== ""))
  .pipe(z.union([z.tuple([z.literal("auto")]), z.array(z.enum(PROVIDER_NAMES)).min(1)]));

/** Every setting, with its default. The key in `soulbox.toml` is the member's name. */
const Settings = z.strictObject({
  /** Port on 127.0.0.1 for API and gateway. */
  port: z.coerce.number().int().min(1).max(65_535).default(8080),
  /** Address to listen on. Anything but loopback opens the server to the network. */
  host: z.string().default("127.0.0.1"),
  /** Where all state is kept, relative to the working directory. */
  data_dir: z.string().min(1).default(".soulbox"),
  /** `auto`, or names in failover order. */
  providers: Providers.default(["auto"]),
  /** False forbids `sudo` inside sandboxes. */
  sudo: Flag.default(true),
  /** True gives sandboxes a network even where its egress can't be filtered. */
  allow_unfiltered_egress: Flag.default(false),
  /** Parent of sandboxes' host names; empty = clients name the sandbox in a header. */
  sandbox_domain: z.string().default(""),
  /** Live sandboxes that a new tenant may have at once. */
  sandbox_count_max: z.coerce.number().int().min(1).max(1_000_000).default(100),
  /** What is written to the error output: `error`, `warn`, `info` or `debug`. */
  log: z.enum(["error", "warn", "info", "debug"]).default("warn"),
});

/** What a setting may be, in words, where the check's own words would not tell. */
const ALLOWED: Readonly<Record<string, string>> = {
  port: "a whole number from 1 to 65535",
  providers: `auto, or a list of ${PROVIDER_NAMES.join(", ")}`,
  sudo: "true, false, 1 or 0",
  allow_unfiltered_egress: "true, false, 1 or 0",
  sandbox_count_max: "a whole number from 1 to 1000000",
};

/** Settings as the program uses them. */
export interface Config {
  readonly port: number;
  readonly host: string;
  /** Absolute. */
  readonly dataDir: string;
  /** Absolute; what can be made again: compiled agents, fetched packages. */
  readonly cacheDir: string;
  readonly providers: "auto" | readonly ConfiguredProvider[];
  readonly sudo: boolean;
  readonly allowUnfilteredEgress: boolean;
  readonly sandboxDomain: string | null;
  readonly sandboxCountMax: number;
  readonly log: "error" | "warn" | "info" | "debug";
}

/** The repository's root. */
export const ROOT = dirname(import.meta.dirname);

/**
 * Reads `soulbox.toml` in the working directory, if there is one, and the environment, which wins:
 * `SOULBOX_PORT` stands for `port`, and so on.
 *
 * @throws invalid_request naming the key, where it stands, what was found and what is allowed.
 */
export function readConfig(env: Readonly<Record<string, string | undefined>>): Config {
  const file = resolve("soulbox.toml");
  const text = existsSync(file) ? readFileSync(file, "utf8") : "";
  const merged: Record<string, unknown> = { ...parseToml(file, text) };
  const fromEnv = new Set<string>();
  for (const key of Object.keys(Settings.shape)) {
    const value = env[`SOULBOX_${key.toUpperCase()}`];
    if (value === undefined || value === "") continue;
    merged[key] = value;
    fromEnv.add(key);
  }
  const parsed = Settings.safeParse(merged);
  if (!parsed.success) throw explain(parsed.error, merged, fromEnv, file, text);
  const settings = parsed.data;
  const [first] = settings.providers;
  return {
    port: settings.port,
    host: settings.host,
    dataDir: resolve(settings.data_dir),
    cacheDir: join(ROOT, "node_modules/.cache/soulbox"),
    providers: first === "auto" ? "auto" : (settings.providers as readonly ConfiguredProvider[]),
    sudo: settings.sudo,
    allowUnfilteredEgress: settings.allow_unfiltered_egress,
    sandboxDomain: settings.sandbox_domain === "" ? null : settings.sandbox_domain,
    sandboxCountMax: settings.sandbox_count_max,
    log: settings.log,
  };
}

function parseToml(file: string, text: string): Record<string, unknown> {
  try {
    return parse(text);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    throw new ControlPlaneError(
      "invalid_request",
      `${file}, line ${error.line}: ${error.message.split("\n")[0]}`,
    );
  }
}

function explain(
  error: z.ZodError,
  merged: Readonly<Record<string, unknown>>,
  fromEnv: ReadonlySet<string>,
  file: string,
  text: string,
): ControlPlaneError {
  const issue = error.issues[0];
  const unknown = issue?.code === "unrecognized_keys" ? issue.keys[0] : undefined;
  const key = unknown ?? String(issue?.path[0] ?? "");
  const line = text.split("\n").findIndex((it) => it.trimStart().startsWith(key)) + 1;
  const where = fromEnv.has(key)
    ? `environment variable SOULBOX_${key.toUpperCase()}`
    : `${file}, line ${line}, key ${key}`;
  if (unknown !== undefined) {
    return new ControlPlaneError("invalid_request", `${where}: there is no such setting.`, {
      hint: `Settings are: ${Object.keys(Settings.shape).join(", ")}.`,
    });
  }
  const allowed = ALLOWED[key] ?? issue?.message;
  return new ControlPlaneError(
    "invalid_request",
    `${where}: found ${JSON.stringify(merged[key])}; allowed: ${allowed}.`,
  );
}
