import type { LaunchId } from "../ids.ts";
import type { Sandbox } from "../sandbox.ts";

/** What came of asking an instance to become a sandbox. */
export type InitAnswer =
  /** It is the sandbox now, or was already. */
  | "ready"
  /** Nothing answers yet at the address. */
  | "silent"
  /** Something answers that isn't an agent of this launch. */
  | "refused";

/** The agents inside the instances, as far as the control plane talks to them. */
export interface Agents {
  /** Variables that the instance of a launch is started with: its id and the public key. */
  launchEnv(launchId: LaunchId): Readonly<Record<string, string>>;
  /** Sends the signed `init`, once. Idempotent. Never throws for an unreachable agent. */
  init(sandbox: Sandbox, address: string, signal: AbortSignal): Promise<InitAnswer>;
}
