import { describe, expect } from "vitest";
import { it, sharedSandbox } from "../fixture.ts";
import { AUTHOR, ask, commitFile, emptyRepository, repository } from "./repository.ts";

const shared = sharedSandbox();

describe("git.init", () => {
  it("makes a repository on the branch that was named", async () => {
    const path = await emptyRepository(shared.sandbox);

    expect(await shared.sandbox.files.exists(`${path}/.git/HEAD`)).toBe(true);
    expect(await ask(shared.sandbox, path, "symbolic-ref --short HEAD")).toBe("main");
  });
});

describe("git.add", () => {
  it("stages the named files, or all", async () => {
    const { files, git } = shared.sandbox;
    const path = await emptyRepository(shared.sandbox);
    await files.writeFiles(["a", "b", "c"].map((name) => ({ path: `${path}/${name}`, data: "" })));

    await git.add(path, { files: ["b"] });
    const some = await ask(shared.sandbox, path, "diff --cached --name-only");
    await git.add(path);

    expect(some).toBe("b");
    expect(await ask(shared.sandbox, path, "diff --cached --name-only")).toBe("a\nb\nc");
  });
});

describe("git.commit", () => {
  it("records what is staged, with its message and author", async () => {
    const { files, git } = shared.sandbox;
    const path = await emptyRepository(shared.sandbox);
    await files.write(`${path}/a.txt`, "a");
    await git.add(path);

    await git.commit(path, 'Add "a" & more', AUTHOR);

    expect(await ask(shared.sandbox, path, "log --format='%s|%an|%ae'")).toBe(
      'Add "a" & more|Ada Lovelace|ada@example.com',
    );
    expect((await git.status(path)).isClean).toBe(true);
  });

  it("takes from the configuration what the call leaves open", async () => {
    const { git } = shared.sandbox;
    const path = await emptyRepository(shared.sandbox);
    await git.configureUser("Configured", "configured@example.com", { scope: "local", path });

    await git.commit(path, "Begin", { authorName: "Given", allowEmpty: true });

    expect(await ask(shared.sandbox, path, "log --format='%an|%ae'")).toBe(
      "Given|configured@example.com",
    );
  });
});

describe("git.reset", () => {
  it("throws changes away when it is hard", async () => {
    const { files, git } = shared.sandbox;
    const path = await repository(shared.sandbox);
    await files.write(`${path}/file.txt`, "changed\n");
    await git.add(path);

    await git.reset(path, { mode: "hard", target: "HEAD" });

    expect(await files.read(`${path}/file.txt`)).toBe("first\n");
    expect((await git.status(path)).isClean).toBe(true);
  });
});

describe("git.restore", () => {
  it("takes a file off the stage and keeps its content", async () => {
    const { files, git } = shared.sandbox;
    const path = await repository(shared.sandbox);
    await files.write(`${path}/file.txt`, "changed\n");
    await git.add(path);

    await git.restore(path, { paths: ["file.txt"], staged: true });

    const status = await git.status(path);
    expect(status).toMatchObject({ hasStaged: false, hasChanges: true });
    expect(await files.read(`${path}/file.txt`)).toBe("changed\n");
  });

  it("gives a file its committed content back", async () => {
    const { files, git } = shared.sandbox;
    const path = await repository(shared.sandbox);
    await files.write(`${path}/file.txt`, "changed\n");

    await git.restore(path, { paths: ["file.txt"] });

    expect(await files.read(`${path}/file.txt`)).toBe("first\n");
  });
});

describe("git.status", () => {
  it("shows a file that git does not know", async () => {
    const { files, git } = shared.sandbox;
    const path = await emptyRepository(shared.sandbox);
    await files.write(`${path}/new.txt`, "new");

    const status = await git.status(path);

    expect(status).toMatchObject({
      currentBranch: "main",
      isClean: false,
      hasUntracked: true,
      untrackedCount: 1,
      hasStaged: false,
    });
    expect(status.fileStatus).toEqual([
      {
        name: "new.txt",
        status: "untracked",
        staged: false,
        indexStatus: "?",
        workingTreeStatus: "?",
      },
    ]);
  });

  it("shows what was added, modified, deleted and renamed", async () => {
    const { commands, files, git } = shared.sandbox;
    const path = await repository(shared.sandbox);
    await commitFile(shared.sandbox, path, "goner.txt", "short lived\n");
    await commitFile(shared.sandbox, path, "old-name.txt", "a text that stays the same\n");
    await files.write(`${path}/file.txt`, "modified\n");
    await files.write(`${path}/added.txt`, "added\n");
    await git.add(path, { files: ["added.txt"] });
    await commands.run("git rm -q goner.txt && git mv old-name.txt new-name.txt", { cwd: path });

    const status = await git.status(path);

    expect(status.fileStatus.map(({ name, status }) => [name, status]).toSorted()).toEqual([
      ["added.txt", "added"],
      ["file.txt", "modified"],
      ["goner.txt", "deleted"],
      ["new-name.txt", "renamed"],
    ]);
    expect(status).toMatchObject({ totalCount: 4, stagedCount: 3, unstagedCount: 1 });
    const renamed = status.fileStatus.find((each) => each.status === "renamed");
    expect(renamed?.renamedFrom).toBe("old-name.txt");
  });
});
