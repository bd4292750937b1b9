import { constants } from "node:os";

/** How a process ended, in the words of E2B's protocol. */
export interface Exit {
  /** −1 when a signal ended it. */
  readonly exitCode: number;
  /** False when a signal ended it. */
  readonly exited: boolean;
  /** `exit status 3`, `signal: killed`. */
  readonly status: string;
  /** The status again, unless it is `exit status 0`. */
  readonly error?: string;
}

// Names as Go prints them, which E2B's terminal client compares with.
const SIGNAL_NAMES: Readonly<Record<string, string>> = {
  SIGHUP: "hangup",
  SIGINT: "interrupt",
  SIGQUIT: "quit",
  SIGILL: "illegal instruction",
  SIGTRAP: "trace/breakpoint trap",
  SIGABRT: "aborted",
  SIGBUS: "bus error",
  SIGFPE: "floating point exception",
  SIGKILL: "killed",
  SIGUSR1: "user defined signal 1",
  SIGSEGV: "segmentation fault",
  SIGUSR2: "user defined signal 2",
  SIGPIPE: "broken pipe",
  SIGALRM: "alarm clock",
  SIGTERM: "terminated",
  SIGXCPU: "CPU time limit exceeded",
  SIGXFSZ: "file size limit exceeded",
  SIGSYS: "bad system call",
};

/** Describes an end by exit code or by signal name. */
export function describeExit(exitCode: number | null, signal: string | number | null): Exit {
  if (exitCode !== null && signal === null) {
    const status = `exit status ${exitCode}`;
    const base = { exitCode, exited: true, status };
    return exitCode === 0 ? base : { ...base, error: status };
  }
  const name = typeof signal === "string" ? signal : "";
  const number =
    typeof signal === "number"
      ? signal
      : (constants.signals as Readonly<Record<string, number>>)[name];
  const status = `signal: ${SIGNAL_NAMES[name] ?? (number === undefined ? name || "unknown" : `signal ${number}`)}`;
  return { exitCode: -1, exited: false, status, error: status };
}
