import { accessSync, constants, statSync } from "node:fs";
import { RpcError } from "./rpc-error.ts";
import type { User, Users } from "./users.ts";

/** What a client wants to run. */
export interface Command {
  readonly cmd: string;
  readonly args: readonly string[];
  /** Variables of this command alone. */
  readonly envs: Readonly<Record<string, string>>;
  /** Directory to start in, absolute. */
  readonly cwd: string;
  readonly user: User;
}

/** A command as the kernel takes it. */
export interface Launch {
  readonly argv: string[];
  readonly env: Record<string, string>;
  readonly cwd: string;
  /** User and group that pipes and terminals belong to. */
  readonly owner: { readonly uid: number; readonly gid: number };
  /** Ids for Bun to switch to; none when `argv` switches by itself. */
  readonly ids: { readonly uid?: number; readonly gid?: number };
}

const DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/**
 * Environment of a process: the system's words first, then the sandbox's variables, then its own.
 *
 * @param shared Variables of the sandbox.
 */
export function buildEnv(
  user: User,
  shared: Readonly<Record<string, string>>,
  own: Readonly<Record<string, string>>,
): Record<string, string> {
  const env: Record<string, string> = {
    PATH: process.env.PATH ?? DEFAULT_PATH,
    HOME: user.home,
    USER: user.name,
    LOGNAME: user.name,
    SHELL: user.shell,
    ...shared,
    ...own,
  };
  for (const [name, value] of Object.entries(env)) {
    if (name !== "" && !name.includes("=") && !`${name}${value}`.includes("\0")) continue;
    throw new RpcError("invalid_argument", `envs[${JSON.stringify(name)}] can't be a variable`);
  }
  return env;
}

/**
 * Prepares a command.
 *
 * @throws RpcError invalid_argument when its directory or program is missing.
 */
export function prepareLaunch(command: Command, env: Record<string, string>, users: Users): Launch {
  const { cmd, args, cwd, user } = command;
  if (!statSync(cwd, { throwIfNoEntry: false })?.isDirectory()) {
    throw new RpcError("invalid_argument", `cwd '${cwd}' is not a directory`);
  }
  if ([cmd, ...args].some((word) => word.includes("\0"))) {
    throw new RpcError("invalid_argument", `the arguments of '${cmd}' hold a NUL byte`);
  }
  const argv = [findProgram(cmd, cwd, env.PATH ?? DEFAULT_PATH), ...args];
  const base = { env, cwd, owner: { uid: user.uid, gid: user.gid } };
  if (user.uid === 0) return { ...base, argv, ids: {} };
  const groups = users.supplementaryGids(user);
  const setpriv = groups.length === 0 ? null : Bun.which("setpriv");
  if (setpriv === null) return { ...base, argv, ids: { uid: user.uid, gid: user.gid } };
  // Bun clears the supplementary groups when it switches ids, so another program has to switch.
  const ids = [`--reuid=${user.uid}`, `--regid=${user.gid}`, `--groups=${groups.join(",")}`];
  return { ...base, argv: [setpriv, ...ids, "--", ...argv], ids: {} };
}

function findProgram(cmd: string, cwd: string, path: string): string {
  if (cmd === "") throw new RpcError("invalid_argument", "process.cmd is empty");
  if (!cmd.includes("/")) {
    const found = Bun.which(cmd, { PATH: path, cwd });
    if (found !== null) return found;
    throw new RpcError("invalid_argument", `'${cmd}' was not found in PATH (${path})`);
  }
  const full = cmd.startsWith("/") ? cmd : `${cwd}/${cmd}`;
  try {
    accessSync(full, constants.X_OK);
    if (statSync(full).isFile()) return full;
  } catch (error) {
    throw new RpcError("invalid_argument", `can't run '${cmd}': ${String(error)}`);
  }
  throw new RpcError("invalid_argument", `can't run '${cmd}': it is not a file`);
}
