import type { Resources } from "../sandbox.ts";

/** What a sandbox boots from. */
export interface Template {
  /** Stable id, `node-22` for example. */
  readonly id: string;
  /** Names that callers may use for it, the preferred one first. */
  readonly names: readonly string[];
  /** Folder of its Dockerfile. */
  readonly folder: string;
  /** Build arguments. */
  readonly args: Readonly<Record<string, string>>;
  /** Size of a sandbox when the caller names none. */
  readonly resources: Resources;
}

/** Finds templates by name. */
export interface Templates {
  /**
   * The template that `name` or an id stands for.
   *
   * @throws not_found for an unknown name; unsupported for a version that can't be had.
   */
  resolve(name: string): Template;
  /** All of them, in a fixed order. */
  list(): readonly Template[];
}
