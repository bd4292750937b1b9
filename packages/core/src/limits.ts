import { durationMs } from "./units.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

/** Every bound in the system, each with its reason. Times in milliseconds. */
export const LIMITS = {
  /** E2B's clients ask for up to 24 hours; longer work should pause in between. */
  lifetimeMsMax: durationMs(24 * HOUR_MS),
  /** Default of E2B's current create route. */
  lifetimeMsDefault: durationMs(5 * MINUTE_MS),
  /** A paused sandbox nobody wants back must end some day: it holds memory or disk. */
  pausedMsMax: durationMs(30 * 24 * HOUR_MS),
  /** A frozen or thawed instance answers within milliseconds; a minute covers a busy host. */
  pauseMsMax: durationMs(MINUTE_MS),
  resumeMsMax: durationMs(MINUTE_MS),
  /** After this the operator is told that an instance can't be removed; the tries go on. */
  terminateMsMax: durationMs(10 * MINUTE_MS),
  /** Whoever starts a move is left alone this long before the reconciler takes it up. */
  moveLeaseMs: durationMs(30_000),
  /** Pause before a failed move is tried again: doubles from the first to the last. */
  retryMsMin: durationMs(1000),
  retryMsMax: durationMs(MINUTE_MS),
  /** One call to a provider, launches excepted. */
  callMsMax: durationMs(20_000),
  /** Retries of one throttled call within a request. */
  throttleTries: 3,
  /** Reads and conditional writes that lost a race are decided again this often. */
  conflictTries: 8,
  /** Clocks of two control planes are never further apart; functions are synchronised to less. */
  clockSkewMs: durationMs(5000),
  /** Live rows are proven alive at most this often: it bounds what a loss leaves unbilled. */
  proofMs: durationMs(5 * MINUTE_MS),
  /** An instance that no row claims is left alone this long after its start. */
  orphanGraceMs: durationMs(30_000),
  /** Candidates that one create tries. */
  attemptsMax: 8,
  /** How long an idempotency key is remembered. */
  onceMs: durationMs(24 * HOUR_MS),
  idempotencyKeyCharsMax: 255,
  /** Variables and metadata are kept in the row, which must fit a DynamoDB item of 400 KB. */
  envBytesMax: 64 * 1024,
  metadataBytesMax: 16 * 1024,
  cpuMilliMin: 100,
  cpuMilliMax: 64_000,
  memoryMibMin: 64,
  memoryMibMax: 512 * 1024,
  diskMibMin: 64,
  diskMibMax: 1024 * 1024,
  /** Page size of every list. */
  pageMax: 100,
  pageDefault: 100,
} as const;
