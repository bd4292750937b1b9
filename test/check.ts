/** `npm run check`: format, lint, types, architecture; then the rooms worth a look. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";

const root = join(import.meta.dirname, "..");
const bin = (name: string) => join(root, "node_modules/.bin", name);
const steps: readonly (readonly [string, string, ...string[]])[] = [
  ["format and lint", bin("biome"), "check", "--error-on-warnings"],
  ["types", bin("tsc"), "-p", "."],
  ["architecture", bin("vitest"), "run", "--project", "unit", "test/architecture.test.ts"],
];
let failed = 0;
for (const [name, command, ...args] of steps) {
  const { status } = spawnSync(command, args, { cwd: root, stdio: "inherit" });
  console.log(`${name}: ${status === 0 ? "ok" : "failed"}`);
  if (status !== 0) failed += 1;
}

const LINES_WORTH_A_LOOK = 300;
const { stdout } = spawnSync("git", ["ls-files", "*.ts"], { cwd: root, encoding: "utf8" });
for (const file of stdout.split("\n")) {
  if (file === "" || file.endsWith(".test.ts")) continue;
  const lines = readFileSync(join(root, file), "utf8").split("\n").length;
  if (lines > LINES_WORTH_A_LOOK) console.log(`worth a look: ${file} has ${lines} lines`);
}
process.exitCode = failed === 0 ? 0 : 1;
