import { execFile } from "node:child_process";
import { once } from "node:events";
import { mkdir, open, readFile, rm, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { createClient } from "./client.ts";
import {
  cleanUp,
  containersOf,
  freePort,
  type Program,
  runScript,
  STOP_MS_MAX,
  secretsOf,
  startReady,
  startRefused,
  startServing,
  temporaryDir,
} from "./program.ts";

const run = promisify(execFile);

describe("a stop", () => {
  let dataDir: string;
  let program: Program | undefined;

  beforeEach(async () => {
    dataDir = await temporaryDir();
  });
  afterEach(() => cleanUp(program, dataDir));

  it.each(["SIGTERM", "SIGINT"] as const)(
    "by %s leaves no sandbox and exits with 0",
    async (signal) => {
      const options = { dataDir, port: await freePort(), providers: "docker" };
      program = await startReady(options);
      const client = createClient(program.url, secretsOf(dataDir).apiKey);
      const [first] = await Promise.all([client.sandbox(), client.sandbox(), client.sandbox()]);
      expect(await containersOf(dataDir)).toHaveLength(3);
      // A client that is in the middle of a request doesn't hold the stop up.
      const hanging = client
        .call("POST", `/v1/sandboxes/${first.sandboxId}/exec`, { command: "sleep 60" })
        .catch((error: unknown) => error);

      expect(await program.kill(signal, STOP_MS_MAX)).toBe(0);

      await hanging;
      expect(await containersOf(dataDir)).toEqual([]);
      const check = await runScript("functions/verify.ts", [dataDir]);
      expect(check).toMatchObject({ exit: 0 });

      program = await startServing({ ...options, providers: "memory" });
      const rows = await client.list();
      expect(rows).toHaveLength(3);
      expect(new Set(rows.map(({ state }) => state))).toEqual(new Set(["terminated"]));
      expect(new Set(rows.map(({ endReason }) => endReason))).toEqual(new Set(["operator"]));
    },
  );
});

describe("a start", () => {
  let parent: string;
  let dataDir: string;
  let port: number;

  beforeEach(async () => {
    parent = await temporaryDir();
    dataDir = join(parent, "data");
    port = await freePort();
  });
  afterEach(() => rm(parent, { recursive: true, force: true }));

  const refused = (env: Readonly<Record<string, string>> = {}, providers = "memory") =>
    startRefused({ dataDir, port, providers, cwd: parent, env });

  it("keeps its first key from start to start, readable by its user alone", async () => {
    const options = { dataDir, port, providers: "docker" };
    const keys: string[] = [];
    for (const _start of [1, 2]) {
      const program = await startReady(options);
      keys.push(/^E2B_API_KEY=(e2b_[0-9a-f]{40})$/m.exec(program.output())?.[1] ?? "none");
      expect(await program.kill("SIGTERM")).toBe(0);
    }

    expect(keys[0]).toMatch(/^e2b_/);
    expect(keys[1]).toBe(keys[0]);
    expect((await stat(join(dataDir, "secrets.json"))).mode & 0o777).toBe(0o600);
    expect((await stat(dataDir)).mode & 0o777).toBe(0o700);
  });

  it("is refused while another server has the data directory, and leaves that one alone", async () => {
    const first = await startServing({ dataDir, port, providers: "memory" });
    try {
      const second = await startRefused({ dataDir, port: await freePort(), providers: "memory" });

      expect(second.exit).toBe(1);
      expect(second.output).toContain(`the server with process id ${first.pid} uses`);
      expect(second.output).toContain("SOULBOX_DATA_DIR");
      expect((await fetch(`${first.url}/health`)).status).toBe(200);
    } finally {
      await first.kill("SIGKILL");
    }
  });

  it("is refused on a port that is in use, naming the setting", async () => {
    const holder = createServer().listen(port, "127.0.0.1");
    await once(holder, "listening");
    try {
      const { exit, output } = await refused();

      expect(exit).toBe(1);
      expect(output).toContain(`127.0.0.1:${port}`);
      expect(output).toContain("SOULBOX_PORT");
      expect(output).not.toContain("    at ");
    } finally {
      holder.close();
    }
  });

  it.each([
    { name: "SOULBOX_PORT", found: "abc", allowed: /1.*65.?535/ },
    { name: "SOULBOX_PORT", found: "70000", allowed: /1.*65.?535|<=\s?65.?535/ },
    { name: "SOULBOX_PROVIDERS", found: "dokcer", allowed: /auto.*docker.*local/ },
    { name: "SOULBOX_SUDO", found: "maybe", allowed: /true.*false|"1".*"0"/ },
  ])("is refused with $name=$found, telling what is allowed", async ({ name, found, allowed }) => {
    const { exit, output } = await refused({ [name]: found });

    expect(exit).toBe(1);
    expect(output).toContain(name);
    expect(output).toContain(found);
    expect(output).toMatch(allowed);
    expect(output).not.toContain("NaN");
  });

  it("is refused with an unknown setting in soulbox.toml, naming its line and the known ones", async () => {
    await writeFile(join(parent, "soulbox.toml"), 'log = "warn"\nprovider = "docker"\n');

    const { exit, output } = await refused();

    expect(exit).toBe(1);
    expect(output).toMatch(/soulbox\.toml, line 2, key provider/);
    expect(output).toContain("providers");
  });

  it("is refused with a data directory below a file", async () => {
    await writeFile(join(parent, "file"), "");
    dataDir = join(parent, "file/data");

    const { exit, output } = await refused();

    expect(exit).toBe(1);
    expect(output).toContain(dataDir);
    expect(output).toContain("SOULBOX_DATA_DIR");
  });

  it("is refused with a damaged database, telling how to repair it and changing no byte", async () => {
    const program = await startServing({ dataDir, port, providers: "memory" });
    await program.kill("SIGTERM");
    const file = join(dataDir, "soulbox.db");
    const handle = await open(file, "r+");
    await handle.write(Buffer.alloc(4096, 0xa5), 0, 4096, 0);
    await handle.close();
    const before = await readFile(file);

    const { exit, output } = await refused();

    expect(exit).toBe(1);
    expect(output).toContain(`${file} is damaged`);
    expect(output).toContain(".recover");
    expect(before.equals(await readFile(file))).toBe(true);
  });

  it("is refused with damaged secrets, which it doesn't replace", async () => {
    await mkdir(dataDir, { mode: 0o700 });
    const file = join(dataDir, "secrets.json");
    await writeFile(file, '{"stage":', { mode: 0o600 });

    const { exit, output } = await refused();

    expect(exit).toBe(1);
    expect(output).toContain(`${file} is damaged`);
    expect(await readFile(file, "utf8")).toBe('{"stage":');
  });
});

describe.skipIf(process.getuid?.() !== 0)("a data directory on a disk", () => {
  let mount: string;

  beforeAll(async () => {
    mount = await temporaryDir();
  });
  afterEach(() => run("umount", [mount]));
  afterAll(() => rm(mount, { recursive: true, force: true }));

  it.each([
    { what: "read-only", options: "ro", words: /read-only|EROFS|can't be written/i },
    { what: "full", options: "size=4k", words: /no space|ENOSPC|full|can't be written/i },
  ])("that is $what is refused clearly", async ({ options, words }) => {
    await run("mount", ["-t", "tmpfs", "-o", options, "soulbox-e2e", mount]);
    const dataDir = mount;

    const { exit, output } = await startRefused({
      dataDir,
      port: await freePort(),
      providers: "memory",
    });

    expect(exit).toBe(1);
    expect(output).toMatch(words);
    expect(output).toContain(mount);
    expect(output).not.toContain("    at ");
  });
});
