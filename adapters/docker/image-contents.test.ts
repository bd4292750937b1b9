import { join } from "node:path";
import type { Template } from "@soulbox/core";
import Dockerode from "dockerode";
import { describe, expect, it } from "vitest";
import { TEMPLATES } from "../../infra/images/catalogue.ts";
import { createImages } from "./images.ts";

const root = join(import.meta.dirname, "../..");
const docker = new Dockerode();
const images = createImages({
  docker,
  imagesDir: join(root, "infra/images"),
  cacheDir: join(root, ".soulbox/images"),
  log: () => {},
});

/** A command for the sandbox's user in a login shell, and the whole of its trimmed output. */
type Checks = Readonly<Record<string, string | RegExp>>;

const COMMON: Checks = {
  "id -u; id -g; id -un; id -gn": "1000\n1000\nuser\nuser",
  "pwd; echo $HOME; umask": "/home/user\n/home/user\n0022",
  "stat -c '%a %U:%G' ~; touch f; mkdir d; stat -c %a f d": "755 user:user\n644\n755",
  "getent passwd user | cut -d: -f7": "/bin/bash",
  "sudo -n id -un": "root",
  "getent hosts $(hostname) > /dev/null && getent ahosts localhost | grep -o '127.0.0.1 *STREAM'":
    /^127\.0\.0\.1/,
  "locale charmap; printf 'ä' | wc -m": "UTF-8\n1",
  "test -x $(git --exec-path)/git-daemon && git --version": /^git version 2\./,
  "TERM=xterm-256color tput colors": "256",
  "realpath /usr/../etc": "/etc",
  "ss -Hltn; ip -br link show lo | cut -d' ' -f1": "lo",
  "pgrep -x bash | wc -l; ps -o comm= -p $$": /^\d+\nbash$/,
  "curl --version | cut -d' ' -f1 | head -1": "curl",
  "test -s /etc/ssl/certs/ca-certificates.crt && echo trusted": "trusted",
  "echo x > x; tar cJf x.txz x; zip -q x.zip x; unzip -p x.zip; tar xOf x.txz; less x | cat":
    "x\nx\nx",
  "command -v mcp-gateway || echo none": "none",
  "ls -A /var/lib/apt/lists /var/cache/apt /tmp | grep -v : | tr -d '\\n'": "",
};

const PYTHON: Checks = {
  "python --version; python3 --version": /^Python 3\.13\.\d+\nPython 3\.13\.\d+$/,
  "pip --version": /^pip \d.*\(python 3\.13\)$/,
  "python -m venv /tmp/v && /tmp/v/bin/pip --version": /^pip \d/,
  "pip install --dry-run --no-index pip": /Requirement already satisfied/,
  "python -c 'import http.server, sqlite3, ssl; print(1)'": "1",
};

const node = ({ NODE_MAJOR, NPM_MAJOR }: Template["args"]): Checks => ({
  "node -v": new RegExp(`^v${NODE_MAJOR}\\.\\d+\\.\\d+$`),
  "(npm -v; npx -v) | cat": new RegExp(`^${NPM_MAJOR}(\\.\\d+)+\\n${NPM_MAJOR}(\\.\\d+)+$`),
  "node -e 'console.log(process.arch, typeof fetch)'": /^(x64|arm64) function$/,
});

const RUST: Checks = {
  "rustc --version; cargo --version": /^rustc 1\.85\.\d.*\ncargo 1\.85\.\d/,
  "cargo init -q --vcs none hello && cd hello && cargo run -q": "Hello, world!",
};

const GO: Checks = {
  "go version": /^go version go1\.24\.\d+ linux/,
  "printf 'package main\\nfunc main() { println(1) }' > m.go && go run m.go 2>&1": "1",
};

function checksFor({ folder, args }: Template): Checks {
  const own: Readonly<Record<string, Checks>> = {
    base: { ...PYTHON, ...node(args) },
    python: PYTHON,
    node: node(args),
    rust: RUST,
    go: GO,
  };
  return { ...COMMON, ...own[folder] };
}

/** Runs all commands in one container; the outputs in the commands' order. */
async function outputsOf(image: string, commands: readonly string[]): Promise<string[]> {
  const script = commands.map((command) => `( ${command}\n) 2>&1; printf '\\0'`).join("\n");
  const container = await docker.createContainer({
    Image: image,
    User: "user",
    Cmd: ["bash", "-l", "-c", script],
    NetworkDisabled: true,
    HostConfig: { Init: true },
    Tty: true,
  });
  try {
    const stream = await container.attach({ stream: true, stdout: true, stderr: true });
    await container.start();
    let output = "";
    for await (const chunk of stream) output += chunk.toString();
    return output
      .replaceAll("\r\n", "\n")
      .split("\0")
      .map((each) => each.trim());
  } finally {
    await container.remove({ force: true });
  }
}

/** For a build from nothing on a slow mirror, milliseconds. */
const BUILD_MS = 900_000;

describe("template images", () => {
  it.each(TEMPLATES)(
    "$id holds what its names promise",
    async (template) => {
      const checks = checksFor(template);
      const commands = Object.keys(checks);
      const image = await images.ensure(template, () => {}, AbortSignal.timeout(BUILD_MS));

      const outputs = await outputsOf(image, commands);

      const found = Object.fromEntries(commands.map((each, index) => [each, outputs[index]]));
      for (const [command, expected] of Object.entries(checks)) {
        expect(found, command).toMatchObject({
          [command]: typeof expected === "string" ? expected : expect.stringMatching(expected),
        });
      }
    },
    BUILD_MS,
  );
});
