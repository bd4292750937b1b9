import type { ProviderName } from "./server.ts";

/** One behaviour that a provider declares it can't give, and how it must say so. */
export interface Difference {
  readonly provider: ProviderName;
  /** Title of our test. */
  readonly behaviour: string;
  readonly reason: string;
  /** The error that the test must end with. */
  readonly error: { readonly name: string; readonly message: RegExp };
}

/** Empty means: every provider under test behaves alike. */
export const DIFFERENCES: readonly Difference[] = [];
