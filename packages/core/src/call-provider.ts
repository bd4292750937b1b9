import { LIMITS } from "./limits.ts";
import type { Ports } from "./ports/ports.ts";
import type { Provider, ProviderFault } from "./ports/provider.ts";
import type { Place } from "./sandbox.ts";
import { type DurationMs, durationMs } from "./units.ts";

/** What came of a call: its value, or the fault in our words with what was thrown. */
export type Outcome<Value> =
  | { readonly ok: true; readonly value: Value }
  | { readonly ok: false; readonly fault: ProviderFault; readonly error: unknown };

/** The configured provider of a place; `undefined` when it isn't configured any more. */
export function providerOf(ports: Ports, place: Place): Provider | undefined {
  return ports.providers.find((provider) => provider.name === place.provider);
}

/**
 * The only caller of adapters: bounds the call, classifies what it throws, repeats it a few times
 * when throttled, and logs. A fault is an answer, not an exception.
 *
 * @param signal Aborting it abandons the call and throws the signal's reason.
 */
export async function callProvider<Value>(
  ports: Ports,
  provider: Provider,
  call: { readonly what: string; readonly limitMs: DurationMs; readonly fields: object },
  signal: AbortSignal,
  run: (signal: AbortSignal) => Promise<Value>,
): Promise<Outcome<Value>> {
  let waitMs: number = LIMITS.retryMsMin;
  for (let tries = 1; ; tries += 1) {
    const outcome = await attempt(ports, provider, call.limitMs, signal, run);
    if (outcome.ok) return outcome;
    signal.throwIfAborted();
    ports.log("provider.failed", {
      provider: provider.name,
      call: call.what,
      fault: outcome.fault,
      tries,
      error: describe(outcome.error),
      ...call.fields,
    });
    if (outcome.fault !== "throttled" || tries >= LIMITS.throttleTries) return outcome;
    await ports.clock.sleep(durationMs(waitMs), signal);
    waitMs *= 2;
  }
}

async function attempt<Value>(
  ports: Ports,
  provider: Provider,
  limitMs: DurationMs,
  signal: AbortSignal,
  run: (signal: AbortSignal) => Promise<Value>,
): Promise<Outcome<Value>> {
  const bounded = ports.clock.timeout(limitMs, signal);
  try {
    return { ok: true, value: await run(bounded) };
  } catch (error) {
    return { ok: false, fault: bounded.aborted ? "timeout" : provider.classify(error), error };
  }
}

/** One line about a thrown value for logs; vendors' errors are not ours to trust with more. */
function describe(error: unknown): string {
  return (error instanceof Error ? `${error.name}: ${error.message}` : String(error)).slice(0, 500);
}
