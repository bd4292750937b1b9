import { ControlPlaneError } from "@soulbox/core";

/** Primary result codes. Source: https://sqlite.org/rescode.html, read 2026-01-10. */
const BUSY = 5;
const LOCKED = 6;
const READ_ONLY = 8;
const IO_ERROR = 10;
const CORRUPT = 11;
const FULL = 13;
const CANNOT_OPEN = 14;
const NOT_A_DATABASE = 26;

/** Extended result codes: a rollback journal, or a log, that only a writer may bring to an end. */
const READ_ONLY_RECOVERY = 264;
const READ_ONLY_ROLLBACK = 776;

/** What to do about a file that can't be trusted. Nothing here changes the file itself. */
export function repairHint(file: string): string {
  return (
    `Stop SoulBox and copy ${file} with its -wal and -shm files aside. Then restore a backup, or run ` +
    `\`sqlite3 ${file} .recover | sqlite3 repaired.db\` and put repaired.db in its place.`
  );
}

/** A file whose content is not what SoulBox wrote. */
export function damaged(file: string, found: string, cause?: unknown): ControlPlaneError {
  return new ControlPlaneError("internal", `The database ${file} is damaged: ${found}.`, {
    hint: repairHint(file),
    cause,
  });
}

/** A directory or file that the operating system won't let SoulBox write. */
export function notWritable(what: string, cause: unknown): ControlPlaneError {
  return new ControlPlaneError("internal", `The ${what} can't be written: ${reasonOf(cause)}.`, {
    hint: "Give this user write access, make room, or name another directory in SOULBOX_DATA_DIR.",
    cause,
  });
}

/** Puts what SQLite threw into our words; anything else stays as it is. */
export function translate(thrown: unknown, file: string): unknown {
  const code = resultCodeOf(thrown);
  if (code === undefined) return thrown;
  switch (code) {
    case BUSY:
    case LOCKED:
      return new ControlPlaneError("timeout", `Another process kept ${file} locked for too long.`, {
        hint: "Try again; end programs that hold a transaction on this file open.",
        cause: thrown,
      });
    case FULL:
      return new ControlPlaneError(
        "internal",
        `Nothing was written: the disk of ${file} is full.`,
        {
          hint: "Make room on that disk and try again; no restart is needed.",
          cause: thrown,
        },
      );
    case CORRUPT:
    case NOT_A_DATABASE:
      return damaged(file, reasonOf(thrown), thrown);
    case READ_ONLY:
      if (needsRecovery(thrown)) return unfinished(file, thrown);
      return notWritable(`database ${file}`, thrown);
    case CANNOT_OPEN:
    case IO_ERROR:
      return notWritable(`database ${file}`, thrown);
    default:
      return thrown;
  }
}

/** True when a process was killed in such a moment that reading takes a repair by SQLite first. */
export function needsRecovery(thrown: unknown): boolean {
  const code = extendedCodeOf(thrown);
  return code === READ_ONLY_RECOVERY || code === READ_ONLY_ROLLBACK;
}

function unfinished(file: string, cause: unknown): ControlPlaneError {
  const detail = `The database ${file} holds a write that a killed process left half done.`;
  const hint = "Start the server once: SQLite undoes it by itself.";
  return new ControlPlaneError("internal", detail, { hint, cause });
}

/** SQLite's primary result code; `undefined` when something else was thrown. */
function resultCodeOf(thrown: unknown): number | undefined {
  const code = extendedCodeOf(thrown);
  return code === undefined ? undefined : code & 0xff;
}

function extendedCodeOf(thrown: unknown): number | undefined {
  if (!(thrown instanceof Error) || !("errcode" in thrown)) return undefined;
  return typeof thrown.errcode === "number" ? thrown.errcode : undefined;
}

function reasonOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
