import { chownSync, mkdirSync, statSync } from "node:fs";
import { posix } from "node:path";
import type { User } from "./users.ts";

/**
 * Makes a directory and its missing parents, mode 0755, all of them the user's.
 *
 * @throws the system's error; ENOTDIR when a part of the path is a file.
 */
export function makeDirectories(path: string, user: User): void {
  const missing: string[] = [];
  for (let at = path; !existsAsDirectory(at); at = posix.dirname(at)) missing.push(at);
  for (const directory of missing.reverse()) {
    try {
      mkdirSync(directory, { mode: 0o755 });
      chownSync(directory, user.uid, user.gid);
    } catch (error) {
      // Somebody else may have made it in between, which is as good.
      if (!existsAsDirectory(directory)) throw error;
    }
  }
}

function existsAsDirectory(path: string): boolean {
  if (path === "/") return true;
  try {
    const stat = statSync(path, { throwIfNoEntry: false });
    if (stat === undefined) return false;
    if (stat.isDirectory()) return true;
  } catch (error) {
    // A file stands among the parents: the walk up will meet it and name it.
    if (error instanceof Error && "code" in error && error.code === "ENOTDIR") return false;
    throw error;
  }
  const failure: NodeJS.ErrnoException = new Error(`ENOTDIR: '${path}' is not a directory`);
  failure.code = "ENOTDIR";
  throw failure;
}
