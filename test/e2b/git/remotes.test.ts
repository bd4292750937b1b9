import { CommandExitError, GitUpstreamError } from "e2b";
import { beforeAll, describe, expect, vi } from "vitest";
import { freshDirectory, it, refusal, sharedSandbox } from "../fixture.ts";
import { AUTHOR, ask, commitFile, repository } from "./repository.ts";

const shared = sharedSandbox();

/** Served by `git daemon` inside the sandbox: it needs no internet and takes pushes. */
const DAEMON = { root: "/home/user/served", url: "git://127.0.0.1:9418" } as const;

beforeAll(async () => {
  const { commands, files } = shared.sandbox;
  await files.makeDir(DAEMON.root);
  await commands.run(
    `git daemon --base-path=${DAEMON.root} --export-all --enable=receive-pack --listen=127.0.0.1`,
    { background: true, timeoutMs: 0 },
  );
  await vi.waitFor(() => commands.run("exec 3<>/dev/tcp/127.0.0.1/9418"), {
    timeout: 10_000,
    interval: 100,
  });
});

/** A bare repository behind the daemon with one commit of `file.txt`. */
async function served(): Promise<{ bare: string; url: string }> {
  const name = `${crypto.randomUUID()}.git`;
  const source = await repository(shared.sandbox);
  await shared.sandbox.commands.run(`git clone -q --bare ${source} ${DAEMON.root}/${name}`);
  return { bare: `${DAEMON.root}/${name}`, url: `${DAEMON.url}/${name}` };
}

async function cloneOf(url: string): Promise<string> {
  const path = `${await freshDirectory(shared.sandbox)}/clone`;
  await shared.sandbox.git.clone(url, { path });
  return path;
}

describe("git.clone", () => {
  it("fetches a repository with its history", async () => {
    const { url } = await served();

    const path = await cloneOf(url);

    expect(await shared.sandbox.files.read(`${path}/file.txt`)).toBe("first\n");
    expect(await ask(shared.sandbox, path, "log --format=%s")).toBe("Change file.txt");
    expect((await shared.sandbox.git.status(path)).upstream).toBe("origin/main");
  });
});

describe("git.push", () => {
  it("carries commits to the remote", async () => {
    const { bare, url } = await served();
    const path = await cloneOf(url);
    await commitFile(shared.sandbox, path, "file.txt", "second\n");

    await shared.sandbox.git.push(path, { remote: "origin", branch: "main" });

    expect(await ask(shared.sandbox, bare, "show main:file.txt")).toBe("second");
    expect((await shared.sandbox.git.status(path)).ahead).toBe(0);
  });

  it("says that a branch follows no remote branch", async () => {
    const { url } = await served();
    const path = await cloneOf(url);
    await shared.sandbox.git.createBranch(path, "lonely");
    await shared.sandbox.git.commit(path, "Say nothing", { ...AUTHOR, allowEmpty: true });

    const error = await refusal(shared.sandbox.git.push(path), GitUpstreamError);

    expect(error.message).toMatch(/^Git push failed because no upstream branch is configured/);
  });
});

describe("git.pull", () => {
  it("brings a clone up to date", async () => {
    const { url } = await served();
    const behind = await cloneOf(url);
    const ahead = await cloneOf(url);
    await commitFile(shared.sandbox, ahead, "file.txt", "second\n");
    await shared.sandbox.git.push(ahead);

    await shared.sandbox.git.pull(behind);

    expect(await shared.sandbox.files.read(`${behind}/file.txt`)).toBe("second\n");
  });

  it("says that a branch has nothing to pull from", async () => {
    const path = await repository(shared.sandbox);

    const error = await refusal(shared.sandbox.git.pull(path), GitUpstreamError);

    expect(error.message).toMatch(/^Git pull failed because no upstream branch is configured/);
  });
});

describe("git remotes", () => {
  it("are added under a name", async () => {
    const { git } = shared.sandbox;
    const path = await repository(shared.sandbox);

    await git.remoteAdd(path, "origin", "https://example.com/first.git");

    expect(await git.remoteGet(path, "origin")).toBe("https://example.com/first.git");
    await refusal(git.remoteAdd(path, "origin", "https://example.com/x.git"), CommandExitError);
  });

  it("are replaced when that is asked for", async () => {
    const { git } = shared.sandbox;
    const path = await repository(shared.sandbox);
    await git.remoteAdd(path, "origin", "https://example.com/first.git");

    await git.remoteAdd(path, "origin", "https://example.com/second.git", { overwrite: true });

    expect(await git.remoteGet(path, "origin")).toBe("https://example.com/second.git");
    expect(await ask(shared.sandbox, path, "remote")).toBe("origin");
  });

  it("are undefined when nobody added them", async () => {
    const path = await repository(shared.sandbox);

    expect(await shared.sandbox.git.remoteGet(path, "origin")).toBeUndefined();
  });
});
