import { describe, expect } from "vitest";
import { it, sharedSandbox } from "../fixture.ts";

const shared = sharedSandbox({ envs: { FLAVOUR: "vanilla", SIZE: "large" } });

describe("environment", () => {
  it("gives the variables of a sandbox to every command", async () => {
    const { stdout } = await shared.sandbox.commands.run('echo "$FLAVOUR $SIZE $HOME $USER"');

    expect(stdout).toBe("vanilla large /home/user user\n");
  });

  it("gives the variables of one command to that command alone", async () => {
    const envs = { FLAVOUR: "mint", EXTRA: "a b  'c' \"d\" $e" };

    const scoped = await shared.sandbox.commands.run('echo "$FLAVOUR|$SIZE|$EXTRA"', { envs });
    const after = await shared.sandbox.commands.run('echo "$FLAVOUR|$(printenv EXTRA)"');

    expect(scoped.stdout).toBe("mint|large|a b  'c' \"d\" $e\n");
    expect(after.stdout).toBe("vanilla|\n");
  });

  it("gives the variables of one command to a Python program", async () => {
    const program = `import os; print(os.environ["EXTRA"], os.environ.get("FLAVOUR"))`;

    const { stdout } = await shared.sandbox.commands.run(`python3 -c '${program}'`, {
      envs: { EXTRA: "sprinkles" },
    });
    const bare = await shared.sandbox.commands.run(
      `python3 -c 'import os; print(os.environ.get("EXTRA"))'`,
    );

    expect(stdout).toBe("sprinkles vanilla\n");
    expect(bare.stdout).toBe("None\n");
  });
});
