import { z } from "zod";
import { END_REASONS, STATES } from "./states.ts";

/** Strict object whose error for an unknown member lists those that exist. */
function fields<Shape extends z.core.$ZodLooseShape>(shape: Shape) {
  const names = Object.keys(shape).join(", ");
  return z.strictObject(shape, {
    error: (issue) => (issue.code === "unrecognized_keys" ? names : undefined),
  });
}

/** One page of a list. `next` is `null` on the last; pass it as `?cursor=` to go on. */
export function pageOf<Item extends z.ZodType>(item: Item) {
  return z.object({ items: z.array(item), next: z.string().nullable() });
}

const time = z.iso.datetime({ offset: true, error: "an RFC 3339 time" });
const positive = z.int().min(1);
const pairs = z.record(z.string(), z.string());
const nanoUsd = z
  .string()
  .regex(/^-?\d+$/)
  .meta({ description: "Nano-dollars (1e-9 US dollar) as a decimal string", example: "1400000" });

const resources = { cpuMilli: positive, memoryMib: positive, diskMib: positive };
export const ResourcesView = z.object(resources).meta({ id: "Resources" });
export const PlaceView = z.object({ provider: z.string(), region: z.string() }).meta({
  id: "Place",
});

/** Body of `POST /v1/sandboxes`. What is left out takes the template's or the server's default. */
export const CreateSandboxBody = fields({
  /** Name or id of a template. Default `base`. */
  template: z.string().min(1).max(512).default("base"),
  resources: fields(resources).partial().optional(),
  /** Variables of every process; never shown again. */
  env: pairs.optional(),
  metadata: pairs.optional(),
  lifetimeMs: positive.optional(),
  onExpiry: z.enum(["terminate", "pause"]).optional(),
  autoResume: z.boolean().optional(),
  secure: z.boolean().optional(),
  network: fields({
    /** True asks for the internet, false forbids any network. */
    internet: z.boolean(),
    publicTraffic: z.boolean(),
    maskRequestHost: z.string().min(1).max(255),
    bandwidthKbit: positive,
  })
    .partial()
    .optional(),
  place: fields({ provider: z.string(), region: z.string() }).partial().optional(),
}).meta({ id: "CreateSandbox" });
export type CreateSandboxBody = z.infer<typeof CreateSandboxBody>;

/** Body of `POST /v1/sandboxes/{id}/resume`. */
export const ResumeSandboxBody = fields({
  /** New life, counted from now. Default: the one asked for at create. */
  lifetimeMs: positive.optional(),
}).meta({ id: "ResumeSandbox" });

/** Body of `POST /v1/sandboxes/{id}/extend`. */
export const ExtendSandboxBody = fields({
  /** New end of life, milliseconds from now. */
  lifetimeMs: positive,
  /** `lengthen` leaves a later end as it is. Default `set`. */
  mode: z.enum(["set", "lengthen"]).default("set"),
}).meta({ id: "ExtendSandbox" });

const sandbox = {
  id: z.string(),
  state: z.enum(STATES),
  /** `null` while it lives. */
  endReason: z.enum(END_REASONS).nullable(),
  /** As the caller spelled it. */
  template: z.string(),
  templateId: z.string(),
  /** What it has; at least what was asked for. */
  resources: ResourcesView,
  place: PlaceView,
  metadata: pairs,
  network: z.object({
    internet: z.boolean().nullable(),
    publicTraffic: z.boolean(),
    maskRequestHost: z.string().nullable(),
    bandwidthKbit: z.int().nullable(),
  }),
  lifetimeMs: z.int(),
  onExpiry: z.enum(["terminate", "pause"]),
  autoResume: z.boolean(),
  secure: z.boolean(),
  /** Number of the current launch, from 1. */
  incarnation: z.int(),
  /** Launches that failed before. */
  attempts: z.array(
    z.object({ place: PlaceView, incarnation: z.int(), fault: z.string(), at: time }),
  ),
  createdAt: time,
  startedAt: time.nullable(),
  endedAt: time.nullable(),
  expiresAt: time,
};

/** A sandbox as lists show it: no secret. */
export const SandboxView = z.object(sandbox).meta({ id: "Sandbox" });
export type SandboxView = z.infer<typeof SandboxView>;

/** How to reach a sandbox's agent. */
export const AgentAccess = z
  .object({
    url: z.string(),
    /** Header `X-Access-Token`; `null` when the sandbox is not secure. */
    accessToken: z.string().nullable(),
    /** Header `E2b-Traffic-Access-Token` for user ports; `null` when they are public. */
    trafficToken: z.string().nullable(),
  })
  .meta({ id: "AgentAccess" });

/** A sandbox as its user sees it; `agent` is `null` once it has ended, and for who may only read. */
export const SandboxDetailView = z
  .object({ ...sandbox, agent: AgentAccess.nullable() })
  .meta({ id: "SandboxDetail" });
export type SandboxDetailView = z.infer<typeof SandboxDetailView>;

/** One line of the ledger. Sums of `amountNanoUsd` are what is owed. */
export const LedgerEntryView = z
  .object({
    id: z.string(),
    sandboxId: z.string(),
    kind: z.enum(["open", "close", "adjust"]),
    incarnation: z.int(),
    /** Number of the paid interval within the sandbox, from 1. */
    interval: z.int(),
    at: time,
    /** `0` for `open`. */
    amountNanoUsd: nanoUsd,
    /** Of `open`: what is paid for, where and at which rates. */
    state: z.enum(["running", "paused"]).optional(),
    resources: ResourcesView.optional(),
    place: PlaceView.optional(),
    price: z
      .object({
        book: z.string(),
        cpuNanoUsdPerHour: nanoUsd,
        memoryNanoUsdPerHour: nanoUsd,
        diskNanoUsdPerHour: nanoUsd,
      })
      .optional(),
    /** Of `close`. */
    billedMs: z.int().optional(),
    /** Of `adjust`: the entry that is corrected, and the reason. */
    corrects: z.string().optional(),
    why: z.string().optional(),
  })
  .meta({ id: "LedgerEntry" });
export type LedgerEntryView = z.infer<typeof LedgerEntryView>;

/** What one sandbox has cost: closed intervals, and the open one so far. */
export const CostView = z
  .object({
    sandboxId: z.string(),
    amountNanoUsd: nanoUsd,
    accruedNanoUsd: nanoUsd,
    entries: z.array(LedgerEntryView),
  })
  .meta({ id: "Cost" });

/** What a tenant's ledger holds from `from` until before `until`, and what is open now. */
export const UsageView = z
  .object({
    from: time,
    until: time,
    billedMs: z.int(),
    amountNanoUsd: nanoUsd,
    accruedNanoUsd: nanoUsd,
    /** Sandboxes that are being paid for now. */
    openCount: z.int(),
  })
  .meta({ id: "Usage" });

const noNul = z.string().refine((text) => !text.includes("\0"), "text without NUL");

/** Body of `POST /v1/sandboxes/{id}/exec`: `command` for a shell, or `args` without one. */
export const ExecBody = fields({
  /** Line for `/bin/bash -l -c`. */
  command: noNul.min(1).optional(),
  /** Program and arguments. */
  args: z.array(noNul).min(1).max(4096).optional(),
  /** Default: the user's home. */
  cwd: noNul.optional(),
  env: z.record(z.string(), noNul).optional(),
  /** Default: the template's user. */
  user: noNul.min(1).max(64).optional(),
  /** The command is killed then. Default 60,000. */
  timeoutMs: positive.max(24 * 3_600_000).default(60_000),
  /** Text for its standard input, which is closed afterwards. Default: none, closed at once. */
  stdin: z.string().optional(),
})
  .refine((body) => (body.command === undefined) !== (body.args === undefined), {
    path: ["command"],
    error: "exactly one of command and args",
  })
  .meta({ id: "Exec" });
export type ExecBody = z.infer<typeof ExecBody>;

/** How a command ended: its exit code, or the signal that killed it and -1. */
export const ExecExit = z.object({ exitCode: z.int(), signal: z.string().nullable() });

/** What a command did. */
export const ExecView = ExecExit.extend({
  stdout: z.string(),
  stderr: z.string(),
  /** True when output beyond the limit was dropped. */
  truncated: z.boolean(),
}).meta({ id: "ExecResult" });

/** A file that was written. */
export const FileView = z
  .object({ name: z.string(), path: z.string(), type: z.string() })
  .meta({ id: "File" });

export const ProviderView = z
  .object({
    name: z.string(),
    /** `null` when nobody measures it. */
    isHealthy: z.boolean().nullable(),
    regions: z.array(z.string()),
    isolation: z.enum(["vm", "gvisor", "container", "namespace", "none"]),
    canPause: z.boolean(),
    lifetimeMsMax: z.int().nullable(),
    launchMsMax: z.int(),
    /** What it doesn't enforce here. */
    gaps: z.array(z.string()),
  })
  .meta({ id: "Provider" });

export const TemplateView = z
  .object({ id: z.string(), names: z.array(z.string()), resources: ResourcesView })
  .meta({ id: "Template" });

/** What a key may allow; `operator` allows everything, for every tenant's keys. */
export const KEY_SCOPES = ["sandboxes", "sandboxes:read", "billing", "keys", "operator"] as const;

const name = z.string().min(1).max(128);

/** Body of `POST /v1/keys`. A key can't allow more than the key that makes it. */
export const CreateKeyBody = fields({
  name,
  scopes: z.array(z.enum(KEY_SCOPES)).min(1).max(KEY_SCOPES.length),
  /** Default: it is valid until it is removed. */
  expiresAt: time.optional(),
  /** Whose key it is; only an operator may name another tenant. */
  tenantId: z.string().optional(),
}).meta({ id: "CreateKey" });

const key = {
  id: z.string(),
  tenantId: z.string(),
  name: z.string(),
  scopes: z.array(z.enum(KEY_SCOPES)),
  createdAt: time,
  expiresAt: time.nullable(),
};
export const KeyView = z.object(key).meta({ id: "Key" });
/** The only answer that holds the key itself. */
export const NewKeyView = z.object({ ...key, secret: z.string() }).meta({ id: "NewKey" });

/** Body of `POST /v1/tenants`. */
export const CreateTenantBody = fields({
  id: z.string(),
  name,
  /** Live sandboxes at once, paused ones included. */
  sandboxCountMax: z.int().min(0).max(1_000_000),
}).meta({ id: "CreateTenant" });

export const TenantView = z
  .object({ id: z.string(), name: z.string(), sandboxCountMax: z.int(), createdAt: time })
  .meta({ id: "Tenant" });
