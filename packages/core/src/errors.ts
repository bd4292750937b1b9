import { CODES, type Code } from "@soulbox/protocol";

/** What an error carries beside its code and message. */
export interface ErrorFields {
  /** What a person can do next; absent rather than vague. */
  readonly hint?: string;
  /** When the same request may be tried again, milliseconds from now. */
  readonly retryAfterMs?: number;
  /** Values that a program can use. Goes onto the wire: never a secret, never vendor text. */
  readonly details?: Readonly<Record<string, unknown>>;
  /** What was thrown below. Goes to logs, never onto the wire. */
  readonly cause?: unknown;
}

/** The one error that leaves core. Programming mistakes are `assert` failures instead. */
export class ControlPlaneError extends Error {
  readonly code: Code;
  /** The message without its code. */
  readonly detail: string;
  readonly hint: string | undefined;
  readonly retryAfterMs: number | undefined;
  readonly details: Readonly<Record<string, unknown>>;

  /** @param detail One sentence: what was tried, on what, and why it failed, with the values. */
  constructor(code: Code, detail: string, fields: ErrorFields = {}) {
    super(`[${code}] ${detail}`, fields.cause === undefined ? undefined : { cause: fields.cause });
    this.name = "ControlPlaneError";
    this.code = code;
    this.detail = detail;
    this.hint = fields.hint;
    this.retryAfterMs = fields.retryAfterMs;
    this.details = fields.details ?? {};
  }

  /** HTTP status of the code. */
  get status(): number {
    return CODES[this.code].status;
  }

  /** True when the same request may succeed later. */
  get retryable(): boolean {
    return CODES[this.code].retryable;
  }

  /** Ours unchanged; anything else becomes `internal` with the thrown value as its cause. */
  static from(thrown: unknown): ControlPlaneError {
    if (thrown instanceof ControlPlaneError) return thrown;
    return new ControlPlaneError("internal", "An unexpected error occurred.", {
      cause: thrown,
      hint: "Try again; if it repeats, look for the request id in the server's log.",
    });
  }
}

/** True when `thrown` is ours and carries `code`. */
export function hasCode(thrown: unknown, code: Code): thrown is ControlPlaneError {
  return thrown instanceof ControlPlaneError && thrown.code === code;
}
