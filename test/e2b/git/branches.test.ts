import { CommandExitError } from "e2b";
import { describe, expect } from "vitest";
import { it, refusal, sharedSandbox } from "../fixture.ts";
import { ask, repository } from "./repository.ts";

const shared = sharedSandbox();

describe("git branches", () => {
  it("are listed, with the current one", async () => {
    const path = await repository(shared.sandbox);
    await ask(shared.sandbox, path, "branch feature");

    const listed = await shared.sandbox.git.branches(path);

    expect(listed).toEqual({ branches: ["feature", "main"], currentBranch: "main" });
  });

  it("are checked out as soon as they are made", async () => {
    const path = await repository(shared.sandbox);

    await shared.sandbox.git.createBranch(path, "feature");

    expect(await ask(shared.sandbox, path, "branch --show-current")).toBe("feature");
    expect((await shared.sandbox.git.branches(path)).branches).toEqual(["feature", "main"]);
  });

  it("are switched", async () => {
    const { git } = shared.sandbox;
    const path = await repository(shared.sandbox);
    await git.createBranch(path, "feature");

    await git.checkoutBranch(path, "main");

    expect((await git.branches(path)).currentBranch).toBe("main");
    await refusal(git.checkoutBranch(path, "no-such-branch"), CommandExitError);
  });

  it("are deleted", async () => {
    const { git } = shared.sandbox;
    const path = await repository(shared.sandbox);
    await ask(shared.sandbox, path, "branch feature");

    await git.deleteBranch(path, "feature");

    expect((await git.branches(path)).branches).toEqual(["main"]);
    await refusal(git.deleteBranch(path, "main"), CommandExitError);
  });
});
