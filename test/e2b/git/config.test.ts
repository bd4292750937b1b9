import { InvalidArgumentError } from "e2b";
import { describe, expect } from "vitest";
import { it, refusal, sharedSandbox } from "../fixture.ts";
import { ask, emptyRepository } from "./repository.ts";

const shared = sharedSandbox();

describe("git configuration", () => {
  it("is set for one repository alone", async () => {
    const { git } = shared.sandbox;
    const path = await emptyRepository(shared.sandbox);

    await git.setConfig("pull.rebase", "false", { scope: "local", path });

    expect(await ask(shared.sandbox, path, "config --local --get pull.rebase")).toBe("false");
    expect(await git.getConfig("pull.rebase")).toBeUndefined();
    await refusal(git.setConfig("pull.rebase", "true", { scope: "local" }), InvalidArgumentError);
  });

  it("is read from one repository", async () => {
    const { git } = shared.sandbox;
    const path = await emptyRepository(shared.sandbox);
    await ask(shared.sandbox, path, "config --local core.editor 'ed -s'");

    expect(await git.getConfig("core.editor", { scope: "local", path })).toBe("ed -s");
    expect(await git.getConfig("no.such", { scope: "local", path })).toBeUndefined();
  });

  it("holds name and address of the user for all repositories", async () => {
    const { git } = shared.sandbox;

    await git.configureUser("Grace Hopper", "grace@example.com");

    expect(await ask(shared.sandbox, "/", "config --global --get user.name")).toBe("Grace Hopper");
    expect(await git.getConfig("user.email")).toBe("grace@example.com");
  });

  it("holds credentials when that is asked for", async () => {
    const { commands, git } = shared.sandbox;

    await git.dangerouslyAuthenticate({
      username: "grace",
      password: "p4ss:w/rd'",
      host: "git.example.com",
    });

    expect(await git.getConfig("credential.helper")).toBe("store");
    const { stdout } = await commands.run(
      "printf 'protocol=https\\nhost=git.example.com\\n\\n' | git credential fill",
    );
    expect(stdout).toContain("username=grace\npassword=p4ss:w/rd'\n");
  });
});
