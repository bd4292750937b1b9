import { chmod, mkdir, readFile, stat, symlink, writeFile } from "node:fs/promises";
import path from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import { FileNotFoundError, InvalidArgumentError, type Sandbox } from "e2b";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Agent, canRun, NOBODY } from "./harness.ts";

const OCTETS = { "content-type": "application/octet-stream" };

describe.skipIf(!canRun)("files", () => {
  let agent: Agent;
  let sandbox: Sandbox;
  const at = (name: string) => path.join(agent.workdir, name);
  const target = (name: string) => `/files?path=${encodeURIComponent(at(name))}`;
  beforeAll(async () => {
    agent = await Agent.startSandbox();
    sandbox = agent.sandbox();
  });
  afterAll(() => agent.stop());

  it("writes with parents, mode and owner, and reads back", async () => {
    const written = await sandbox.files.write(at("a/b/c.txt"), "héllo\n");
    expect(written).toMatchObject({ name: "c.txt", path: at("a/b/c.txt"), type: "file" });
    expect(await sandbox.files.read(at("a/b/c.txt"))).toBe("héllo\n");
    const file = await stat(at("a/b/c.txt"));
    expect([file.mode & 0o777, file.uid, file.gid]).toEqual([0o644, NOBODY, NOBODY]);
    const parent = await stat(at("a"));
    expect([parent.mode & 0o777, parent.uid]).toEqual([0o755, NOBODY]);
  });

  it("replaces content in place, so that mode and links stay", async () => {
    await writeFile(at("script"), "long content");
    await chmod(at("script"), 0o755);
    await symlink("script", at("link"));
    await sandbox.files.write(at("link"), "x");
    expect(await readFile(at("script"), "utf8")).toBe("x");
    expect((await stat(at("script"))).mode & 0o777).toBe(0o755);
  });

  it("takes many files in one body, empty and binary ones among them", async () => {
    const bytes = new Uint8Array(100_000).map((_, index) => index * 7);
    const files = [
      { path: at("many/empty"), data: "" },
      { path: at("many/bytes"), data: bytes.buffer },
      { path: at('many/it "is"\\ odd é'), data: "\r\n--\r\n" },
    ];
    const written = await sandbox.files.write(files);
    expect(written.map((file) => file.path)).toEqual(files.map((file) => file.path));
    expect(await sandbox.files.read(at("many/empty"))).toBe("");
    expect(await sandbox.files.read(at("many/bytes"), { format: "bytes" })).toEqual(bytes);
    expect(await readFile(at('many/it "is"\\ odd é'), "utf8")).toBe("\r\n--\r\n");
  });

  it("refuses two files for one path, and bodies it can't read", async () => {
    const part = (name: string) =>
      `--B\r\ncontent-disposition: form-data; name="file"; filename="${name}"\r\n\r\nx\r\n`;
    const multipart = { "content-type": "multipart/form-data; boundary=B" };
    const post = async (
      body: string | Uint8Array,
      headers: Record<string, string>,
      to = "/files",
    ) => (await agent.request(to, { method: "POST", headers, body })).status;
    const twice = part(at("same")) + part(at("./same"));
    expect(await post(`${twice}--B--\r\n`, multipart)).toBe(400);
    expect(await post(part(at("cut")), multipart)).toBe(400);
    expect(await post("x", { "content-type": "multipart/form-data" })).toBe(400);
    expect(await post("x", { "content-type": "text/plain" }, target("t"))).toBe(400);
    expect(await post("x", OCTETS)).toBe(400);
    expect(await post("x", OCTETS, "/files?path=/tmp")).toBe(400);
    expect(await post("x", OCTETS, "/files?path=%00")).toBe(400);
    expect(await post("x", OCTETS, `/files?path=/tmp/${"n".repeat(4096)}`)).toBe(400);
    expect(await post("x", OCTETS, `/files?path=/tmp/${"n".repeat(300)}`)).toBe(400);
    expect(await post("x", OCTETS, "/files?path=/dev/null")).toBe(400);
    expect(await post("x", { ...OCTETS, "content-encoding": "gzip" }, target("z"))).toBe(400);
    expect(await post("x", { ...OCTETS, "content-encoding": "br" }, target("z"))).toBe(400);
    expect(await post("x", OCTETS, `${target("u")}&username=who`)).toBe(401);
  });

  it("answers 507 when the disk is full", async () => {
    const full = at("full");
    await mkdir(full);
    await sandbox.commands.run(`mount -t tmpfs -o size=1m tmpfs ${full}`, { user: "root" });
    try {
      const body = Buffer.alloc(4_000_000);
      const answer = await agent.request(target("full/f"), {
        method: "POST",
        headers: OCTETS,
        body,
      });
      expect(answer.status).toBe(507);
      expect(JSON.parse(answer.body.toString()).message).toContain(full);
    } finally {
      await sandbox.commands.run(`umount ${full}`, { user: "root" });
    }
  });

  it("compresses both ways when it is asked to", async () => {
    const text = "compress me ".repeat(10_000);
    await sandbox.files.write(at("zipped"), text, { gzip: true });
    expect(await readFile(at("zipped"), "utf8")).toBe(text);
    const zipped = await agent.request(target("zipped"), {
      headers: { "accept-encoding": "gzip" },
    });
    expect(zipped.headers["content-encoding"]).toBe("gzip");
    expect(gunzipSync(zipped.body).toString()).toBe(text);
    const plain = await agent.request(target("zipped"), {
      headers: { "accept-encoding": "gzip, br" },
    });
    expect(plain.headers["content-encoding"]).toBeUndefined();
    const none = await agent.request(target("zipped"), {
      headers: { "accept-encoding": "identity;q=0" },
    });
    expect(none.status).toBe(406);
    const body = gzipSync("part").subarray(0, 12);
    const headers = { ...OCTETS, "content-encoding": "gzip" };
    expect((await agent.request(target("cut"), { method: "POST", headers, body })).status).toBe(
      400,
    );
  });

  it("serves ranges", async () => {
    await writeFile(at("digits"), "0123456789");
    const get = async (range: string) => {
      const { status, body, headers } = await agent.request(target("digits"), {
        headers: { range },
      });
      return [status, body.toString(), headers["content-range"]];
    };
    expect(await get("bytes=2-4")).toEqual([206, "234", "bytes 2-4/10"]);
    expect(await get("bytes=7-")).toEqual([206, "789", "bytes 7-9/10"]);
    expect(await get("bytes=-3")).toEqual([206, "789", "bytes 7-9/10"]);
    expect((await get("bytes=10-"))[0]).toBe(416);
    expect(await get("lines=1-2")).toEqual([200, "0123456789", undefined]);
  });

  it("reads what claims to be empty, and refuses what is no file", async () => {
    expect(await sandbox.files.read("/proc/version")).toContain("Linux");
    await expect(sandbox.files.read(at("missing"))).rejects.toThrow(FileNotFoundError);
    await expect(sandbox.files.read("/tmp")).rejects.toThrow(InvalidArgumentError);
    await sandbox.commands.run(`mkfifo ${at("pipe")}`);
    expect((await agent.request(target("pipe"))).status).toBe(400);
    expect((await agent.request("/files?path=/dev/zero")).status).toBe(400);
  });

  it("keeps metadata in extended attributes and clears it when a file is replaced", async () => {
    const file = at("meta");
    await sandbox.files.write(file, "x", { metadata: { Author: "me", "a-b": "c d" } });
    const info = await sandbox.files.getInfo(file);
    expect(info.metadata).toEqual({ author: "me", "a-b": "c d" });
    await sandbox.files.write(file, "y", { metadata: { other: "1" } });
    expect((await sandbox.files.getInfo(file)).metadata).toEqual({ other: "1" });
    await sandbox.files.write(file, "z");
    expect((await sandbox.files.getInfo(file)).metadata).toBeUndefined();
    const script = `import os; os.setxattr('${file}', 'user.e2b.by', b'program')`;
    await sandbox.commands.run(`python3 -c "${script}"`);
    expect((await sandbox.files.getInfo(file)).metadata).toEqual({ by: "program" });
    for (const headers of [
      { [`x-metadata-${"k".repeat(247)}`]: "v" },
      { "x-metadata-k": "v".repeat(4096) },
      { "x-metadata-k": "é" },
    ]) {
      const answer = await agent.request(target("meta2"), {
        method: "POST",
        headers: { ...OCTETS, ...headers },
        body: "x",
      });
      expect(answer.status).toBe(400);
    }
  });

  it("joins files and removes them", async () => {
    for (const name of ["p1", "p2"]) await writeFile(at(name), name);
    const compose = (body: object) =>
      agent.request("/files/compose", { method: "POST", body: JSON.stringify(body) });
    const source_paths = [at("p1"), at("p2")];
    const answer = await compose({ source_paths, destination: at("whole") });
    expect(JSON.parse(answer.body.toString())).toMatchObject({ path: at("whole"), size: "4" });
    expect(await readFile(at("whole"), "utf8")).toBe("p1p2");
    expect((await compose({ source_paths, destination: at("again") })).status).toBe(404);
    expect((await compose({ source_paths: 5, destination: at("again") })).status).toBe(400);
  });

  it("measures the sandbox", async () => {
    const { body } = await agent.request("/metrics");
    const metrics = JSON.parse(body.toString());
    for (const name of ["ts", "cpu_count", "mem_total", "mem_used", "disk_total", "disk_used"]) {
      expect(metrics[name], name).toBeGreaterThan(0);
    }
    expect(metrics.cpu_used_pct).toBeGreaterThanOrEqual(0);
    expect(metrics.cpu_used_pct).toBeLessThanOrEqual(100);
  });

  it("takes large uploads without holding them", async () => {
    const piece = new Uint8Array(1024 * 1024);
    let left = 300;
    const stream = new ReadableStream({
      pull(controller) {
        left -= 1;
        if (left < 0) controller.close();
        else controller.enqueue(piece);
      },
    });
    await sandbox.files.write(at("large"), stream);
    expect((await stat(at("large"))).size).toBe(300 * 1024 * 1024);
    const status = await readFile(`/proc/${agent.process.pid}/status`, "utf8");
    expect(Number(/VmHWM:\s+(\d+)/.exec(status)?.[1])).toBeLessThan(250_000);
  });
});

describe.skipIf(!canRun)("signed file URLs", () => {
  const token = "0tQG31xiMp0IOQfaz9dcwi72L1CPo8e0";
  let agent: Agent;
  let sandbox: Sandbox;
  beforeAll(async () => {
    agent = await Agent.startSandbox({ accessToken: token });
    sandbox = agent.sandbox(token);
  });
  afterAll(() => agent.stop());

  it("opens exactly what was signed", async () => {
    const file = path.join(agent.workdir, "f");
    const form = new FormData();
    form.append("file", new Blob(["signed"]));
    const up = await fetch(await sandbox.uploadUrl(file), { method: "POST", body: form });
    expect(up.status).toBe(200);
    const url = await sandbox.downloadUrl(file, { useSignatureExpiration: 60 });
    expect(await (await fetch(url)).text()).toBe("signed");
    expect((await fetch(url, { method: "POST", body: form })).status).toBe(401);
    const other = new URL(url);
    other.searchParams.set("path", "/etc/shadow");
    expect((await fetch(other)).status).toBe(401);
    const asRoot = await sandbox.downloadUrl("/etc/shadow", { user: "root" });
    expect((await fetch(asRoot)).status).toBe(200);
  });

  it("says why it refuses", async () => {
    const refuse = async (query: string) => {
      const { status, body } = await agent.request(`/files?path=hello.txt&username=user${query}`);
      return [status, JSON.parse(body.toString())];
    };
    expect(await refuse("")).toEqual([
      401,
      { code: 401, message: "missing signature query parameter" },
    ]);
    expect(await refuse("&signature=v1_x")).toEqual([
      401,
      { code: 401, message: "invalid signature" },
    ]);
    const expired = await fetch(await sandbox.downloadUrl("f", { useSignatureExpiration: -60 }));
    expect(expired.status).toBe(401);
    expect(await expired.json()).toEqual({ code: 401, message: "signature is already expired" });
    // The check value of the published protocol is right, so that only the user is unknown.
    const known = encodeURIComponent("v1_gUtH/s9YCJWgCizjfUxuWfhFE4QSydOWEIIvfLwDr6E");
    const [, error] = await refuse(`&signature=${known}`);
    expect(error.message).toBe("invalid username: 'user'");
  });
});
