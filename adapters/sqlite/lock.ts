import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { ControlPlaneError } from "@soulbox/core";
import { notWritable } from "./faults.ts";

/** A data directory that is ours. */
export interface DataDirLock {
  /** Lets it go. The end of the process does so too, however it comes. */
  release(): void;
}

/**
 * Takes a data directory for this process. The lock is one of the operating system's, held through
 * an empty SQLite file, so that no crash can leave it behind. Readers don't need it.
 *
 * @throws already_exists when another server has it; internal when the directory can't be written.
 */
export function lockDataDir(dataDir: string): DataDirLock {
  const pidFile = join(dataDir, "server.pid");
  let database: DatabaseSync | undefined;
  try {
    mkdirSync(dataDir, { recursive: true, mode: 0o700 });
    database = new DatabaseSync(join(dataDir, "lock.db"), { timeout: 0 });
    database.exec("PRAGMA journal_mode = MEMORY");
    database.exec("BEGIN EXCLUSIVE");
    writeFileSync(pidFile, `${process.pid}\n`, { mode: 0o600 });
  } catch (thrown) {
    database?.close();
    throw isBusy(thrown)
      ? taken(dataDir, pidFile)
      : notWritable(`data directory ${dataDir}`, thrown);
  }
  const held = database;
  return {
    release: () => {
      if (!held.isOpen) return;
      rmSync(pidFile, { force: true });
      held.close();
    },
  };
}

function isBusy(thrown: unknown): boolean {
  return thrown instanceof Error && "errcode" in thrown && thrown.errcode === 5;
}

function taken(dataDir: string, pidFile: string): ControlPlaneError {
  const pid = readPid(pidFile);
  const holder = pid === undefined ? "another server" : `the server with process id ${pid}`;
  return new ControlPlaneError("already_exists", `${holder} uses the data directory ${dataDir}.`, {
    hint: "Stop that server, or name another directory in SOULBOX_DATA_DIR.",
    details: pid === undefined ? {} : { pid },
  });
}

function readPid(pidFile: string): number | undefined {
  try {
    const pid = Number(readFileSync(pidFile, "utf8").trim());
    return Number.isInteger(pid) && pid > 0 ? pid : undefined;
  } catch {
    return undefined;
  }
}
