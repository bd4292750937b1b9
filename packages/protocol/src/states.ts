/**
 * Where a sandbox is in its life, as last committed.
 *
 * `pending` a launch is under way · `running` its agent answers · `pausing`, `resuming` on the way
 * between running and `paused` · `terminating` no longer usable, its instance is being removed ·
 * `terminated` ended as somebody wanted · `failed` never launched, or lost.
 */
export const STATES = [
  "pending",
  "running",
  "pausing",
  "paused",
  "resuming",
  "terminating",
  "terminated",
  "failed",
] as const;
export type SandboxState = (typeof STATES)[number];

/**
 * Why a sandbox ended.
 *
 * `requested` by its owner · `expired` its lifetime was over · `idle` nobody used it · `quota` it
 * broke a limit that only outside measurement can enforce, such as disk · `operator` by whoever
 * runs SoulBox, a server's stop included · `lost` the provider no longer has it ·
 * `launch_failed` no provider could start it.
 */
export const END_REASONS = [
  "requested",
  "expired",
  "idle",
  "quota",
  "operator",
  "lost",
  "launch_failed",
] as const;
export type EndReason = (typeof END_REASONS)[number];

/** True for the states that nothing leaves. */
export function isFinal(state: SandboxState): state is "terminated" | "failed" {
  return state === "terminated" || state === "failed";
}
