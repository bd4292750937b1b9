import type { SandboxId } from "../ids.ts";
import type { Meter } from "../meter.ts";
import type { Agents } from "./agents.ts";
import type { Clock } from "./clock.ts";
import type { Provider } from "./provider.ts";
import type { Store } from "./store.ts";
import type { Templates } from "./templates.ts";

/** Everything the core needs from outside. */
export interface Ports {
  readonly store: Store;
  readonly clock: Clock;
  readonly meter: Meter;
  /** In failover order. */
  readonly providers: readonly Provider[];
  readonly agents: Agents;
  readonly templates: Templates;
  /** Marks our instances, so that two control planes on one account leave each other's alone. */
  readonly stage: string;
  readonly newId: () => SandboxId;
  /** `event` is `noun.verb`; fields carry units and no secrets. */
  readonly log: (event: string, fields: Readonly<Record<string, unknown>>) => void;
}
