/** What a code means to a caller. */
export interface CodeInfo {
  /** HTTP status of an answer that carries the code. */
  readonly status: number;
  /** True when the same request may succeed later without a change. */
  readonly retryable: boolean;
  /** Fixed sentence for the code; what happened in one case stands in `detail`. */
  readonly title: string;
}

/**
 * Every error code, closed. A code exists only where a caller acts differently; anything finer
 * goes into `details`.
 */
export const CODES = {
  invalid_request: { status: 400, retryable: false, title: "The request is not valid" },
  unauthenticated: { status: 401, retryable: false, title: "No valid credential was given" },
  forbidden: { status: 403, retryable: false, title: "The credential does not allow this" },
  not_found: { status: 404, retryable: false, title: "There is no such thing" },
  already_exists: { status: 409, retryable: false, title: "It exists already" },
  state_conflict: {
    status: 409,
    retryable: false,
    title: "The sandbox is not in a state that allows this",
  },
  version_conflict: { status: 409, retryable: true, title: "Somebody else changed it first" },
  sandbox_ended: { status: 410, retryable: false, title: "The sandbox has ended" },
  payload_too_large: { status: 413, retryable: false, title: "The request is too large" },
  idempotency_mismatch: {
    status: 422,
    retryable: false,
    title: "The idempotency key was used for another request",
  },
  unsupported: { status: 422, retryable: false, title: "This provider can't do that" },
  rate_limited: { status: 429, retryable: true, title: "Too many requests" },
  quota_exceeded: { status: 429, retryable: false, title: "A limit of the tenant is reached" },
  internal: { status: 500, retryable: false, title: "SoulBox failed" },
  provider_error: { status: 502, retryable: false, title: "The provider refused or failed" },
  capacity_unavailable: {
    status: 503,
    retryable: true,
    title: "No provider has room for these resources now",
  },
  provider_unavailable: { status: 503, retryable: true, title: "No provider can be reached" },
  not_ready: { status: 503, retryable: true, title: "It is still being prepared" },
  timeout: { status: 504, retryable: true, title: "It took longer than its limit" },
} as const satisfies Record<string, CodeInfo>;

/** One of {@link CODES}. */
export type Code = keyof typeof CODES;
