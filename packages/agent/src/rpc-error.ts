/** Connect's error codes and the HTTP status that each has on unary calls. */
export const RPC_CODES = {
  canceled: 499,
  unknown: 500,
  invalid_argument: 400,
  deadline_exceeded: 504,
  not_found: 404,
  already_exists: 409,
  permission_denied: 403,
  resource_exhausted: 429,
  failed_precondition: 400,
  aborted: 409,
  unimplemented: 501,
  internal: 500,
  unavailable: 503,
  unauthenticated: 401,
} as const satisfies Record<string, number>;

/** One of {@link RPC_CODES}. */
export type RpcCode = keyof typeof RPC_CODES;

/** An error that a client is told about. */
export class RpcError extends Error {
  readonly code: RpcCode;

  constructor(code: RpcCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

const ERRNO_CODES: Readonly<Record<string, RpcCode>> = {
  ENOENT: "not_found",
  EEXIST: "already_exists",
  ENOTEMPTY: "already_exists",
  ENOTDIR: "invalid_argument",
  EISDIR: "invalid_argument",
  EINVAL: "invalid_argument",
  ENAMETOOLONG: "invalid_argument",
  ELOOP: "invalid_argument",
  E2BIG: "invalid_argument",
  ENXIO: "invalid_argument",
  EACCES: "permission_denied",
  EPERM: "permission_denied",
  EROFS: "permission_denied",
  EBUSY: "failed_precondition",
  ETXTBSY: "failed_precondition",
  ENOSPC: "resource_exhausted",
  EDQUOT: "resource_exhausted",
  EFBIG: "resource_exhausted",
  EMFILE: "resource_exhausted",
  ENFILE: "resource_exhausted",
  ENOMEM: "resource_exhausted",
  EAGAIN: "resource_exhausted",
};

/** Name of the system error (`ENOENT`), or undefined for any other error. */
export function errnoOf(error: unknown): string | undefined {
  if (!(error instanceof Error) || !("code" in error)) return undefined;
  return typeof error.code === "string" && /^E[A-Z0-9]+$/.test(error.code) ? error.code : undefined;
}

/**
 * Wraps whatever was thrown.
 *
 * @param tried What was tried, with its values; stands first in the message.
 */
export function toRpcError(error: unknown, tried: string): RpcError {
  if (error instanceof RpcError) return error;
  const errno = errnoOf(error);
  const reason = error instanceof Error ? error.message : String(error);
  const code = errno === undefined ? "internal" : (ERRNO_CODES[errno] ?? "internal");
  return new RpcError(code, `${tried}: ${reason}`, { cause: error });
}
