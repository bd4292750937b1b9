import type { Exit } from "./exit-status.ts";
import { RunningProcess, type RunOptions } from "./process.ts";
import { RpcError } from "./rpc-error.ts";

/** A process as a client names it. */
export type Selector = { readonly pid: number } | { readonly tag: string };

/** A process that has ended. */
export interface Finished {
  readonly pid: number;
  readonly tag: string | undefined;
  readonly exit: Exit;
}

/** Ends that are kept for clients that connect late. */
const FINISHED_COUNT_MAX = 1024;

/** The processes that clients started. */
export class ProcessTable {
  readonly #running = new Map<number, RunningProcess>();
  /** Oldest first. */
  readonly #finished = new Map<number, Finished>();

  /** Runs a command. @throws the system's error when the program can't be run. */
  run(options: RunOptions): RunningProcess {
    const process = new RunningProcess(options);
    const { pid, tag } = process;
    this.#finished.delete(pid);
    this.#running.set(pid, process);
    void process.ended.then((exit) => {
      if (this.#running.get(pid) === process) this.#running.delete(pid);
      this.#remember({ pid, tag, exit });
    });
    return process;
  }

  /** Running processes, in the order of their start. */
  list(): RunningProcess[] {
    return [...this.#running.values()];
  }

  /**
   * Finds a running process; the latest of several with one tag.
   *
   * @throws RpcError not_found.
   */
  find(selector: Selector): RunningProcess {
    const found =
      "pid" in selector
        ? this.#running.get(selector.pid)
        : this.list().findLast((process) => process.tag === selector.tag);
    if (found !== undefined) return found;
    throw new RpcError("not_found", `no running process with ${describe(selector)}`);
  }

  /** Finds a process that has ended, as long as its end is kept. */
  findFinished(selector: Selector): Finished | undefined {
    if ("pid" in selector) return this.#finished.get(selector.pid);
    return [...this.#finished.values()].findLast((finished) => finished.tag === selector.tag);
  }

  #remember(finished: Finished): void {
    if (this.#running.has(finished.pid)) return;
    this.#finished.delete(finished.pid);
    this.#finished.set(finished.pid, finished);
    if (this.#finished.size <= FINISHED_COUNT_MAX) return;
    for (const oldest of this.#finished.keys()) {
      this.#finished.delete(oldest);
      break;
    }
  }
}

function describe(selector: Selector): string {
  return "pid" in selector ? `pid ${selector.pid}` : `tag ${JSON.stringify(selector.tag)}`;
}
