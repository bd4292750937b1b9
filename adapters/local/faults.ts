import type { ProviderFault } from "@soulbox/core";

/** A sandbox that didn't come up, with what its log says. For logs, not for callers. */
export class EnterFailed extends Error {
  /** The last of what util-linux and the shell wrote. */
  readonly output: string;

  constructor(launchId: string, how: string, output: string) {
    super(`The sandbox ${launchId} did not start (${how}): ${output || "no output"}`);
    this.name = "EnterFailed";
    this.output = output;
  }
}

/** What the adapter itself finds wrong. */
export class LocalError extends Error {
  readonly fault: ProviderFault;

  constructor(fault: ProviderFault, message: string) {
    super(message);
    this.name = "LocalError";
    this.fault = fault;
  }
}

/** By errno of what Node throws. Source: errno(3). */
const BY_ERRNO: Readonly<Record<string, ProviderFault>> = {
  EACCES: "denied",
  EPERM: "denied",
  EAGAIN: "capacity",
  EMFILE: "capacity",
  ENFILE: "capacity",
  ENOMEM: "capacity",
  ENOSPC: "capacity",
  EDQUOT: "quota",
  EROFS: "unavailable",
  EIO: "unavailable",
  ENOENT: "unavailable",
  ENOTDIR: "unavailable",
};

/** By what util-linux prints: strerror(3) in the C locale. First match counts. */
const BY_OUTPUT: readonly (readonly [RegExp, ProviderFault])[] = [
  [/No space left on device|Cannot allocate memory|Resource temporarily unavailable/, "capacity"],
  [/Too many open files|Cannot fork|out of memory/i, "capacity"],
  [/Operation not permitted|Permission denied|permission denied/, "denied"],
  [/not found|No such file or directory|does not exist|can't find/, "unavailable"],
];

/** True when Node threw it for one of these reasons. */
export function hasErrno(error: unknown, ...codes: readonly string[]): boolean {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  return typeof code === "string" && codes.includes(code);
}

/** Our word for what the adapter threw. Never throws. */
export function classifyLocal(error: unknown): ProviderFault {
  try {
    if (error instanceof LocalError) return error.fault;
    if (error instanceof EnterFailed) {
      const { output } = error;
      return BY_OUTPUT.find(([pattern]) => pattern.test(output))?.[1] ?? "unknown";
    }
    if (!(error instanceof Error)) return "unknown";
    if (error.name === "AbortError" || error.name === "TimeoutError") return "timeout";
    const code = "code" in error ? error.code : undefined;
    return (typeof code === "string" && BY_ERRNO[code]) || "unknown";
  } catch {
    // A value whose properties throw.
    return "unknown";
  }
}
