import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { chmod, mkdir, readdir, readFile, rename, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import path from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);
const SOURCE_DIR = path.join(import.meta.dirname, "src");

interface Compiler {
  readonly path: string;
  readonly version: string;
}

/**
 * Compiles the agent to one executable for this machine's processor.
 *
 * The name carries a hash of the sources and of Bun's version, so that a file that exists is
 * current and is returned without work. Two builds at once are harmless.
 *
 * @param outDir Directory of the executable; made when missing.
 * @returns Absolute path of the executable, mode 0755.
 * @throws Error when no Bun for this platform is installed or when the sources don't compile.
 */
export async function buildAgent(outDir: string): Promise<string> {
  const bun = findCompiler();
  const target = path.resolve(outDir, `soulbox-agent-${await hashSources(bun)}`);
  if (existsSync(target)) return target;
  await mkdir(outDir, { recursive: true });
  const draft = `${target}.${process.pid}.${Date.now()}.draft`;
  const args = ["build", "--compile", "--minify-syntax", "--minify-whitespace", "--bytecode"];
  // The agent runs in directories that others write to: their settings must not reach it.
  const closed = ["--no-compile-autoload-dotenv", "--no-compile-autoload-bunfig"];
  const main = path.join(SOURCE_DIR, "main.ts");
  try {
    await run(bun.path, [...args, ...closed, main, "--outfile", draft], { cwd: outDir });
    await chmod(draft, 0o755);
    await rename(draft, target);
  } catch (error) {
    await rm(draft, { force: true });
    throw new Error(`can't compile ${main} with Bun ${bun.version}`, { cause: error });
  }
  return target;
}

/** Bun for this platform, from the optional dependencies of the repository. */
function findCompiler(): Compiler {
  const name = `@oven/bun-linux-${platformSuffix()}`;
  const require = createRequire(import.meta.url);
  try {
    const manifest = require.resolve(`${name}/package.json`);
    const { version } = JSON.parse(readFileSync(manifest, "utf8")) as { version: string };
    return { path: path.join(path.dirname(manifest), "bin", "bun"), version };
  } catch (error) {
    throw new Error(`the agent needs the package ${name}; install it to build`, { cause: error });
  }
}

function platformSuffix(): string {
  if (process.platform !== "linux") {
    throw new Error(`the agent runs on Linux; this is ${process.platform}`);
  }
  if (process.arch === "arm64") return "aarch64";
  return readFileSync("/proc/cpuinfo", "utf8").includes(" avx2") ? "x64" : "x64-baseline";
}

async function hashSources(bun: Compiler): Promise<string> {
  const hash = createHash("sha256").update(`${bun.path.split("/@oven/")[1]} ${bun.version}\n`);
  hash.update(await readFile(import.meta.filename));
  for (const name of (await readdir(SOURCE_DIR)).sort()) {
    if (!name.endsWith(".ts") || name.endsWith(".test.ts")) continue;
    hash.update(`${name}\n`).update(await readFile(path.join(SOURCE_DIR, name)));
  }
  return hash.digest("hex").slice(0, 16);
}
