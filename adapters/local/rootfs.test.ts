import { existsSync, lstatSync, statSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { usrMounts } from "./probe.ts";
import { fstabOf, mountsOf, type RootfsPlan } from "./rootfs.ts";
import { skeletonOf, USER_ID, writeSkeleton } from "./skeleton.ts";
import { AGENT_PATH } from "./testing/harness.ts";

const PLAN: RootfsPlan = {
  identity: "root",
  agentPath: AGENT_PATH,
  nodePath: process.execPath,
  etcNames: ["python3.13", "java-17-openjdk", "ssh", "pip.conf"],
  usrMounts: [],
};

describe("mountsOf", () => {
  it("binds nothing of the host but programs, their settings and harmless devices", () => {
    const sources = mountsOf(PLAN)
      .filter(({ type }) => type === "bind")
      .map(({ source }) => source);

    for (const source of sources) {
      expect(source).toMatch(/^\/(usr|bin|sbin|lib\w*|etc\/.+|dev\/[a-z]+)$|agent\.mjs$|\/node$/);
      expect(source).not.toMatch(
        /shadow|passwd|ssh|private|pip\.conf|npmrc|gitconfig|\/dev\/(kmsg|mem|sd|vd)/,
      );
    }
  });

  it("binds read-only throughout, devices too", () => {
    for (const { type, options } of mountsOf(PLAN)) {
      if (type === "bind" || type === "self") expect(options).toBe("bind,ro");
    }
  });

  it("gives terminals to the group tty, except where there is one user only", () => {
    const optionsFor = (identity: RootfsPlan["identity"]) =>
      mountsOf({ ...PLAN, identity }).find(({ type }) => type === "devpts")?.options;

    expect(optionsFor("root")).toMatch(/gid=5$/);
    expect(optionsFor("mapped")).toMatch(/gid=5$/);
    expect(optionsFor("single")).not.toMatch(/gid/);
  });
});

describe("fstabOf", () => {
  it("quotes what would end a field", () => {
    const mount = { source: "/a b\tc\\d#e", target: "/x", type: "bind", options: "bind" } as const;

    const text = fstabOf([mount], "/root dir", "/run dir");

    expect(text).toBe(
      "/a\\040b\\011c\\134d\\043e /root\\040dir/x none bind 0 0\n" +
        "/run\\040dir /root\\040dir/.soulbox/run none bind,nosuid,nodev,noexec 0 0\n",
    );
  });
});

describe("usrMounts", () => {
  it("finds what is mounted below /usr, once", () => {
    const line = (path: string) => `1 2 3:4 / ${path} rw - ext4 /dev/x rw`;

    expect(
      usrMounts(["/", "/usr", "/usr/local", "/usr/local", "/usrx"].map(line).join("\n")),
    ).toEqual(["/usr/local"]);
  });
});

describe("the skeleton", () => {
  let dir: string;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), "soulbox-skeleton-"));
  });
  afterEach(() => rm(dir, { recursive: true, force: true }));

  const entries = skeletonOf(PLAN, mountsOf(PLAN), Buffer.from("filter"));
  const contentOf = (path: string, of = entries) =>
    of.find((entry) => entry.path === path)?.content.toString();

  it("names parents before what is in them, and each path once", () => {
    const seen = new Set(["/"]);
    for (const { path } of entries) {
      expect(seen).toContain(dirname(path));
      expect(seen).not.toContain(path);
      seen.add(path);
    }
  });

  it("has a place for every mount", () => {
    const paths = entries.map(({ path }) => path);
    for (const { target } of mountsOf(PLAN)) {
      if (!target.startsWith("/proc/")) expect(paths).toContain(target);
    }
  });

  it("knows a user without a password, and makes it root where there is no other", () => {
    const single = skeletonOf({ ...PLAN, identity: "single" }, [], undefined);

    expect(contentOf("/etc/passwd")).toMatch(new RegExp(`^user:x:${USER_ID}:${USER_ID}:`, "m"));
    expect(contentOf("/etc/shadow")).toMatch(/^user:\*:/m);
    expect(contentOf("/etc/passwd", single)).toMatch(/^user:x:0:0:/m);
  });

  it("is written once per content", () => {
    const owns = process.geteuid?.() === 0;

    const path = writeSkeleton(dir, entries, owns);
    const made = lstatSync(path).ctimeMs;
    const again = writeSkeleton(dir, entries, owns);
    const other = writeSkeleton(dir, entries.slice(0, 1), owns);

    expect(again).toBe(path);
    expect(lstatSync(path).ctimeMs).toBe(made);
    expect(other).not.toBe(path);
    expect(statSync(join(path, "tmp")).mode & 0o7777).toBe(0o1777);
    expect(statSync(join(path, "etc/shadow")).mode & 0o777).toBe(0o600);
    expect(existsSync(join(path, "home/user/.bashrc"))).toBe(true);
    if (owns) expect(statSync(join(path, "home/user")).uid).toBe(USER_ID);
  });
});
