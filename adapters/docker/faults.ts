import type { ProviderFault } from "@soulbox/core";

/** What this adapter throws by itself, where no call to the engine was worth making. */
export class DockerError extends Error {
  readonly fault: ProviderFault;

  constructor(fault: ProviderFault, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = "DockerError";
    this.fault = fault;
  }
}

/** HTTP status of an error that the engine answered; `undefined` for any other thrown value. */
export function statusOf(error: unknown): number | undefined {
  const status = read(error, "statusCode");
  return typeof status === "number" ? status : undefined;
}

/** The engine's words in an error, or the error's own. */
export function wordsOf(error: unknown): string {
  const message = read(error, "message");
  return typeof message === "string" ? message : String(typeof error);
}

/** True when the engine lacks the image of a launch. */
export function isImageMissing(error: unknown): boolean {
  return statusOf(error) === 404 && /no such image|image not known/i.test(wordsOf(error));
}

/** True when the network that a container was made for is gone. */
export function isNetworkMissing(error: unknown): boolean {
  return /network .*not found|unable to find network/i.test(wordsOf(error));
}

/** True when the engine's storage driver can't bound a container's disk. */
export function isStorageOptRefused(error: unknown): boolean {
  return /storage-opt|storage opt|pquota|quota/i.test(wordsOf(error));
}

/** Our word for what the engine, its client or this adapter threw. Never throws. */
export function classifyDocker(error: unknown): ProviderFault {
  if (error instanceof DockerError) return error.fault;
  const name = read(error, "name");
  if (name === "AbortError" || name === "TimeoutError") return "timeout";
  const code = read(error, "code");
  const byCode = typeof code === "string" ? CODE_FAULTS[code] : undefined;
  if (byCode !== undefined) return byCode;
  const status = statusOf(error);
  if (status === undefined) return "unknown";
  const words = wordsOf(error);
  return WORD_FAULTS.find(([pattern]) => pattern.test(words))?.[1] ?? faultOfStatus(status);
}

/** Errors of the connection. Source: Node's and the kernel's names. */
const CODE_FAULTS: Readonly<Record<string, ProviderFault>> = {
  ABORT_ERR: "timeout",
  ETIMEDOUT: "timeout",
  EACCES: "denied",
  EPERM: "denied",
  ECONNREFUSED: "unavailable",
  ECONNRESET: "unavailable",
  ENOENT: "unavailable",
  ENOTFOUND: "unavailable",
  EAI_AGAIN: "unavailable",
  EHOSTUNREACH: "unavailable",
  ENETUNREACH: "unavailable",
  EPIPE: "unavailable",
  ENOSPC: "capacity",
  EMFILE: "capacity",
};

/**
 * Words that say more than the status. Source: answers of Docker 26.1.5 and Podman 5.4, tried
 * 2026-11-25. The engine answers 404 to a launch whose image or network vanished: that is not the
 * instance being gone.
 */
const WORD_FAULTS: readonly (readonly [RegExp, ProviderFault])[] = [
  [/no such image|image not known|network .*not found|unable to find network/i, "unavailable"],
  [/is not running|marked for removal|can only (un)?pause|not running containers/i, "not_found"],
  [
    /no space left|cannot allocate memory|out of memory|resource temporarily unavailable/i,
    "capacity",
  ],
  [/address pool|no available (ipv4|ip) addresses|port is already allocated/i, "capacity"],
  [/deadline exceeded|timed? ?out/i, "timeout"],
  [/as there are only|minimum memory limit|oci runtime create failed/i, "invalid"],
];

function faultOfStatus(status: number): ProviderFault {
  if (status === 400 || status === 422) return "invalid";
  if (status === 401 || status === 403) return "denied";
  if (status === 404) return "not_found";
  if (status === 409) return "already_exists";
  if (status === 429) return "throttled";
  if (status === 408 || status === 504) return "timeout";
  if (status === 502 || status === 503) return "unavailable";
  if (status === 507) return "capacity";
  return "unknown";
}

/** A property of a thrown value, whatever that is. */
function read(error: unknown, property: string): unknown {
  try {
    return error instanceof Object ? Reflect.get(error, property) : undefined;
  } catch {
    return undefined;
  }
}
