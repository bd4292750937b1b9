import { lstatSync, readdirSync, renameSync, statSync } from "node:fs";
import { rm } from "node:fs/promises";
import { posix } from "node:path";
import { startChild } from "./children.ts";
import { answerUnary } from "./connect.ts";
import { makeDirectories } from "./directories.ts";
import { type Entry, readEntry } from "./entry.ts";
import type { Exchange } from "./exchange.ts";
import { type Identity, type IdentityHolder, identityOf } from "./identity.ts";
import { type Message, optionalUint32, text } from "./message.ts";
import { shorten } from "./paths.ts";
import { errnoOf, RpcError, toRpcError } from "./rpc-error.ts";
import type { User } from "./users.ts";

/** Entries of one listing; more are refused, since the answer is built in memory. */
const ENTRY_COUNT_MAX = 100_000;
/** Entries read before others get their turn. */
const ENTRY_BATCH_COUNT = 500;

/** Who asks, and for what. */
export interface FileCall {
  readonly identity: Identity;
  readonly user: User;
  readonly message: Message;
}

/** Member that names a path, made absolute. @throws RpcError invalid_argument. */
export function pathOf({ identity, user, message }: FileCall, name: string): string {
  return identity.path(text(message, name), user);
}

/** The unary methods of `filesystem.Filesystem` that touch files. */
export function filesystemMethods(
  holder: IdentityHolder,
): Readonly<Record<string, (exchange: Exchange) => Promise<void>>> {
  const method =
    (tried: string, run: (call: FileCall) => unknown) =>
    (exchange: Exchange): Promise<void> =>
      answerUnary(exchange, async (message) => {
        try {
          const identity = identityOf(holder);
          const user = identity.userOf(exchange.field("authorization"));
          return await run({ identity, user, message });
        } catch (error) {
          throw toRpcError(error, `can't ${tried}`);
        }
      });
  return {
    Stat: method("stat", (call) => ({
      entry: readEntry(pathOf(call, "path"), call.identity.users),
    })),
    MakeDir: method("make a directory", makeDir),
    Move: method("move", move),
    ListDir: method("list", listDir),
    Remove: method("remove", remove),
  };
}

function makeDir(call: FileCall): { entry: Entry } {
  const path = pathOf(call, "path");
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory()) {
    throw new RpcError("already_exists", `directory ${shorten(path)} exists already`);
  }
  makeDirectories(path, call.user);
  return { entry: readEntry(path, call.identity.users) };
}

async function move(call: FileCall): Promise<{ entry: Entry }> {
  const source = pathOf(call, "source");
  const destination = pathOf(call, "destination");
  lstatSync(source);
  makeDirectories(posix.dirname(destination), call.user);
  try {
    renameSync(source, destination);
  } catch (error) {
    if (errnoOf(error) !== "EXDEV") throw error;
    await moveAcross(source, destination);
  }
  return { entry: readEntry(destination, call.identity.users) };
}

/** Moves between file systems; `mv` keeps owners, times, links and attributes. */
async function moveAcross(source: string, destination: string): Promise<void> {
  const argv = ["mv", "-T", "--", source, destination];
  const child = startChild(() =>
    Bun.spawn(argv, { stdin: "ignore", stdout: "ignore", stderr: "pipe" }),
  );
  const [code, told] = await Promise.all([child.exited, child.stderr.text()]);
  if (code !== 0) throw new RpcError("internal", `mv ended with ${code}: ${told.slice(0, 500)}`);
}

async function remove(call: FileCall): Promise<object> {
  const path = pathOf(call, "path");
  if (path === "/") throw new RpcError("invalid_argument", "the root directory can't be removed");
  await rm(path, { recursive: true, force: true });
  return {};
}

async function listDir(call: FileCall): Promise<{ entries: Entry[] }> {
  const root = pathOf(call, "path");
  const depthMax = optionalUint32(call.message, "depth") || 1;
  if (!statSync(root).isDirectory()) {
    throw new RpcError("invalid_argument", `${shorten(root)} is not a directory`);
  }
  const entries: Entry[] = [];
  const visit = async (directory: string, depth: number): Promise<void> => {
    for (const name of namesIn(directory, depth)) {
      const entry = tryEntry(posix.join(directory, name), call.identity);
      if (entry === undefined) continue;
      entries.push(entry);
      if (entries.length > ENTRY_COUNT_MAX) {
        const limit = `more than ${ENTRY_COUNT_MAX} entries; ask for less depth`;
        throw new RpcError("resource_exhausted", `${shorten(root)} holds ${limit}`);
      }
      if (entries.length % ENTRY_BATCH_COUNT === 0) await Bun.sleep(0);
      const isOwn = entry.type === "FILE_TYPE_DIRECTORY" && entry.symlinkTarget === undefined;
      if (isOwn && depth < depthMax) await visit(entry.path, depth + 1);
    }
  };
  await visit(root, 1);
  return { entries };
}

/** Names in a directory, sorted; none when a directory below the first vanished meanwhile. */
function namesIn(directory: string, depth: number): string[] {
  try {
    return readdirSync(directory).sort();
  } catch (error) {
    if (depth > 1) return [];
    throw error;
  }
}

/** Entry at a path, or undefined when it vanished since it was listed. */
function tryEntry(path: string, identity: Identity): Entry | undefined {
  try {
    return readEntry(path, identity.users);
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw error;
  }
}
