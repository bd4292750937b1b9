import type { Sandbox } from "e2b";
import { freshDirectory } from "../fixture.ts";

/** Who commits in the tests. */
export const AUTHOR = { authorName: "Ada Lovelace", authorEmail: "ada@example.com" } as const;

/** A repository on branch `main` without a commit; returns its path. */
export async function emptyRepository(sandbox: Sandbox): Promise<string> {
  const path = `${await freshDirectory(sandbox)}/repository`;
  await sandbox.git.init(path, { initialBranch: "main" });
  return path;
}

/** A repository on branch `main` with one commit of `file.txt`; returns its path. */
export async function repository(sandbox: Sandbox): Promise<string> {
  const path = await emptyRepository(sandbox);
  await commitFile(sandbox, path, "file.txt", "first\n");
  return path;
}

/** Writes a file and commits it. */
export async function commitFile(
  sandbox: Sandbox,
  path: string,
  name: string,
  content: string,
): Promise<void> {
  await sandbox.files.write(`${path}/${name}`, content);
  await sandbox.git.add(path, { files: [name] });
  await sandbox.git.commit(path, `Change ${name}`, AUTHOR);
}

/** Output of a git command in a repository, without its last line end. */
export async function ask(sandbox: Sandbox, path: string, question: string): Promise<string> {
  const { stdout } = await sandbox.commands.run(`git -C ${path} ${question}`);
  return stdout.trimEnd();
}
