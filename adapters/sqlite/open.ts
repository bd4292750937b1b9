import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
} from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { ControlPlaneError } from "@soulbox/core";
import { Connection } from "./connection.ts";
import { damaged, needsRecovery, notWritable, translate } from "./faults.ts";
import {
  APPLICATION_ID,
  migrate,
  numberOf,
  SCHEMA_STEPS,
  type SchemaStep,
  versionOf,
} from "./schema.ts";

/** Where the database is and how it is opened. */
export interface SqliteOptions {
  /** Directory of `soulbox.db`; made when missing, readable by this user only. */
  readonly dataDir: string;
  /** Looks without touching, beside a running server too. Default false. */
  readonly readOnly?: boolean;
  /** Steps of the schema. Default {@link SCHEMA_STEPS}; others are for tests of migration. */
  readonly steps?: readonly SchemaStep[];
}

/** How long a statement waits for another process's transaction, milliseconds. */
const BUSY_MS = 5000;
/** Larger files aren't checked whole at every start: SQLite reads about 0.5 GB/s for it. */
const CHECKED_BYTES_MAX = 256 * 1024 * 1024;
const HEADER_TEXT = "SQLite format 3\0";
const HEADER_BYTES = 100;

/** Path of the database in a data directory. */
export function databaseFile(dataDir: string): string {
  return join(dataDir, "soulbox.db");
}

/**
 * Opens the database, makes it when it is missing and brings an older one to the last version, with
 * a copy of the old one beside it. A commit is durable when it returns (WAL, synchronous = FULL).
 *
 * @throws internal when the directory can't be written, or the file is damaged, of another program
 *   or of a newer SoulBox: it is left as it is then. not_found when `readOnly` and there is none.
 */
export function openDatabase(options: SqliteOptions): Connection {
  const { readOnly = false, steps = SCHEMA_STEPS } = options;
  const file = databaseFile(options.dataDir);
  if (!readOnly) makeFile(options.dataDir, file);
  else if (!existsSync(file)) {
    throw new ControlPlaneError("not_found", `There is no database ${file}.`, {
      hint: "Name the data directory of a SoulBox that has been started at least once.",
    });
  }
  try {
    const found = inspect(file, steps.length, !readOnly);
    const database = new DatabaseSync(file, { readOnly, timeout: BUSY_MS });
    try {
      if (readOnly) refuseOlder(file, found, steps.length);
      else prepareForWriting(database, file, found, steps);
      return new Connection(database, file);
    } catch (thrown) {
      database.close();
      throw thrown;
    }
  } catch (thrown) {
    throw translate(thrown, file);
  }
}

/** Rows hold variables, which are secret: nobody else on the machine may read the file. */
function makeFile(dataDir: string, file: string): void {
  try {
    mkdirSync(dataDir, { recursive: true, mode: 0o700 });
    closeSync(openSync(file, "a", 0o600));
  } catch (thrown) {
    throw notWritable(`data directory ${dataDir}`, thrown);
  }
}

/**
 * Looks at a file before anything may change it. Gives its schema version, 0 when it is empty.
 * `mayRecover` lets SQLite finish what a killed process left half done, if it must to read at all.
 */
function inspect(file: string, known: number, mayRecover: boolean): number {
  const { size } = statSync(file);
  if (size === 0 && !existsSync(`${file}-wal`)) return 0;
  const header = headerOf(file);
  if (size > 0 && header.toString("latin1", 0, HEADER_TEXT.length) !== HEADER_TEXT) {
    throw damaged(file, "it doesn't begin like a SQLite database");
  }
  // Read from the bytes first: merely opening a file in WAL mode creates files beside it.
  if (header.length === HEADER_BYTES) refuseNewer(file, header.readUInt32BE(60), known);
  const isChecked = size <= CHECKED_BYTES_MAX;
  try {
    return examine(file, known, { readOnly: true, isChecked });
  } catch (thrown) {
    if (!mayRecover || !needsRecovery(thrown)) throw thrown;
    return examine(file, known, { readOnly: false, isChecked });
  }
}

function examine(
  file: string,
  known: number,
  { readOnly, isChecked }: { readonly readOnly: boolean; readonly isChecked: boolean },
): number {
  const database = new DatabaseSync(file, { readOnly, timeout: BUSY_MS });
  try {
    const version = versionOf(database);
    refuseNewer(file, version, known);
    const applicationId = numberOf(database, "PRAGMA application_id");
    const tables = numberOf(database, "SELECT count(*) FROM sqlite_master");
    if (applicationId !== APPLICATION_ID && (applicationId !== 0 || tables > 0)) {
      throw new ControlPlaneError("internal", `${file} is the database of another program.`, {
        hint: "Name another directory in SOULBOX_DATA_DIR.",
      });
    }
    if (isChecked) {
      const [first] = database.prepare("PRAGMA quick_check(1)").all();
      const found = String(Object.values(first ?? {})[0]);
      if (found !== "ok") throw damaged(file, found.replaceAll("\n", " "));
    }
    return version;
  } finally {
    database.close();
  }
}

function headerOf(file: string): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  const descriptor = openSync(file, "r");
  try {
    return header.subarray(0, readSync(descriptor, header));
  } finally {
    closeSync(descriptor);
  }
}

function refuseNewer(file: string, version: number, known: number): void {
  if (version <= known) return;
  throw new ControlPlaneError(
    "internal",
    `The database ${file} has schema version ${version}; this SoulBox knows up to ${known}.`,
    {
      hint: "Start the newer SoulBox that wrote it, or name another directory in SOULBOX_DATA_DIR.",
    },
  );
}

function refuseOlder(file: string, version: number, known: number): void {
  if (version === known) return;
  throw new ControlPlaneError(
    "internal",
    `The database ${file} has schema version ${version}; this SoulBox reads ${known}.`,
    { hint: "Start the server once: it brings the database forward and keeps a copy." },
  );
}

function prepareForWriting(
  database: DatabaseSync,
  file: string,
  found: number,
  steps: readonly SchemaStep[],
): void {
  database.exec("PRAGMA journal_mode = WAL");
  database.exec("PRAGMA synchronous = FULL");
  // Pages in memory, KiB; holds the indexes of some 100,000 rows.
  database.exec("PRAGMA cache_size = -16384");
  database.exec("PRAGMA journal_size_limit = 67108864");
  if (found === steps.length) return;
  if (found > 0) copyBeside(database, `${file}.v${found}.bak`);
  migrate(database, steps);
  // Puts the version into the file itself, where an older program looks before it opens it.
  database.exec("PRAGMA wal_checkpoint(TRUNCATE)");
}

/** Copies the database as it is, the log included; a copy of the same version is replaced. */
function copyBeside(database: DatabaseSync, copy: string): void {
  const unfinished = `${copy}.tmp`;
  rmSync(unfinished, { force: true });
  closeSync(openSync(unfinished, "a", 0o600));
  database.prepare("VACUUM INTO ?").run(unfinished);
  const descriptor = openSync(unfinished, "r");
  fsyncSync(descriptor);
  closeSync(descriptor);
  renameSync(unfinished, copy);
}
