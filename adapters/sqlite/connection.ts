import type { DatabaseSync, StatementSync } from "node:sqlite";
import { translate } from "./faults.ts";

/** One open database: statements are prepared once, errors leave in our words. */
export class Connection {
  /** Path of the file, for messages. */
  readonly file: string;
  readonly #database: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();

  constructor(database: DatabaseSync, file: string) {
    this.#database = database;
    this.file = file;
  }

  /** The statement for `sql`; only for texts out of a small fixed set. */
  prepare(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#database.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }

  /** Runs reads. */
  read<Result>(work: () => Result): Result {
    try {
      return work();
    } catch (thrown) {
      throw translate(thrown, this.file);
    }
  }

  /** Runs `work` in one transaction: durable when it returns, without any trace when it throws. */
  write<Result>(work: () => Result): Result {
    return this.read(() => {
      this.prepare("BEGIN IMMEDIATE").run();
      try {
        const result = work();
        this.prepare("COMMIT").run();
        return result;
      } catch (thrown) {
        // SQLite itself rolls back after some faults, a full disk among them.
        if (this.#database.isTransaction) this.prepare("ROLLBACK").run();
        throw thrown;
      }
    });
  }

  /** How SQLite runs each statement that was used so far: its text, and the steps of its plan. */
  plans(): ReadonlyMap<string, readonly string[]> {
    return this.read(() => {
      const plans = new Map<string, readonly string[]>();
      for (const sql of this.#statements.keys()) {
        const steps = this.#database.prepare(`EXPLAIN QUERY PLAN ${sql}`).all();
        plans.set(
          sql,
          steps.map(({ detail }) => String(detail)),
        );
      }
      return plans;
    });
  }

  close(): void {
    this.#statements.clear();
    if (this.#database.isOpen) this.#database.close();
  }
}
