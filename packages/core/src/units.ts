declare const brand: unique symbol;
/** A base type that can't be mixed up with another of the same base. */
export type Brand<Base, Name extends string> = Base & { readonly [brand]: Name };

/** An instant: Unix time in milliseconds, an integer. */
export type EpochMs = Brand<number, "EpochMs">;
/** A length of time in milliseconds, an integer ≥ 0. */
export type DurationMs = Brand<number, "DurationMs">;
/** Money: 1e-9 US dollar, an integer, never a float. */
export type NanoUsd = Brand<bigint, "NanoUsd">;

/** Takes a number of Unix milliseconds as an instant; fractions are cut. */
export function epochMs(value: number): EpochMs {
  return Math.trunc(value) as EpochMs;
}

/** Takes a number of milliseconds as a length of time; fractions are cut. */
export function durationMs(value: number): DurationMs {
  return Math.trunc(value) as DurationMs;
}

/** Takes an integer of nano-dollars as money. */
export function nanoUsd(value: bigint): NanoUsd {
  return value as NanoUsd;
}

/** The instant `ms` after `at`. */
export function after(at: EpochMs, ms: number): EpochMs {
  return epochMs(at + ms);
}

/** The time from `from` to `until`, zero when `until` is earlier. */
export function elapsed(from: EpochMs, until: EpochMs): DurationMs {
  return durationMs(Math.max(0, until - from));
}
