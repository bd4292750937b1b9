import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";

/** What {@link run} may be told beside the command. */
export interface RunOptions {
  /** Ends the command with SIGTERM when aborted. Default: it runs to its end. */
  readonly signal?: AbortSignal;
  /** Folder to run in. Default: the current one. */
  readonly cwd?: string;
}

/**
 * Runs a command without a shell, with nothing on its standard input.
 *
 * @returns What it wrote to standard output.
 * @throws Error naming the command and the last lines of its standard error when it fails, with
 *   `code` "ENOENT" when there is no such command.
 */
export function run(command: string, args: readonly string[], options: RunOptions = {}) {
  return new Promise<string>((resolve, reject) => {
    const child = spawn(command, args, { ...options, stdio: ["ignore", "pipe", "pipe"] });
    let stdout = "";
    let stderr = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr = (stderr + text).slice(-STDERR_LENGTH_MAX);
    });
    child.once("error", reject);
    child.once("close", (code, signal) => {
      if (code === 0) return resolve(stdout);
      const tail = stderr.trim().split("\n").slice(-STDERR_LINES).join("\n");
      reject(new Error(`${command} ${args[0] ?? ""} failed (${signal ?? code}): ${tail}`));
    });
  });
}

const STDERR_LENGTH_MAX = 8192;
const STDERR_LINES = 8;

/** True when this process is root on Debian, Ubuntu or a child of theirs: it may use apt. */
export function isRootOnDebian(): boolean {
  if (process.getuid?.() !== 0) return false;
  try {
    const release = readFileSync("/etc/os-release", "utf8");
    return /^ID(_LIKE)?=.*\b(debian|ubuntu)\b/m.test(release);
  } catch {
    return false;
  }
}

/**
 * Installs Debian packages without their recommendations. The caller made sure of
 * {@link isRootOnDebian}.
 *
 * @throws Error with apt's last lines.
 */
export async function installPackages(
  packages: readonly string[],
  onProgress: (line: string) => void,
  signal?: AbortSignal,
): Promise<void> {
  const options = signal === undefined ? {} : { signal };
  const apt = ["DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "-o", "DPkg::Lock::Timeout=120"];
  onProgress(`installing ${packages.join(", ")} with apt`);
  await run("env", [...apt, "update"], options);
  await run("env", [...apt, "install", "-y", "--no-install-recommends", ...packages], options);
}
