import { LIMITS } from "@soulbox/core";
import { z } from "zod";

/** Longest life in seconds; above it a request is refused, never shortened. */
const SECONDS_MAX = LIMITS.lifetimeMsMax / 1000;
/** Longest step of the old `refreshes` route, seconds. Source: E2B's API description. */
const REFRESH_SECONDS_MAX = 3600;

const seconds = z.int().min(1).max(SECONDS_MAX);
const pairs = z.record(z.string().min(1), z.string());

/** Members of `network`. Strict: an unknown one may be a restriction that nobody would enforce. */
const Network = z.strictObject(
  {
    allowOut: z.array(z.string()).nullish(),
    denyOut: z.array(z.string()).nullish(),
    allowPublicTraffic: z.boolean().nullish(),
    maskRequestHost: z.string().min(1).max(255).nullish(),
    httpsPorts: z.array(z.number()).nullish(),
    egressProxy: z.record(z.string(), z.unknown()).nullish(),
    rules: z.record(z.string(), z.unknown()).nullish(),
  },
  { error: (issue) => (issue.code === "unrecognized_keys" ? NETWORK_FIELDS : undefined) },
);
const NETWORK_FIELDS =
  "allowOut, denyOut, allowPublicTraffic, maskRequestHost, httpsPorts, egressProxy, rules";

/** Body of both create routes. Unknown members are ignored, as newer clients send more. */
export const NewSandbox = z.object({
  templateID: z.string().min(1).max(512),
  timeout: seconds.nullish(),
  metadata: pairs.nullish(),
  envVars: pairs.nullish(),
  secure: z.boolean().nullish(),
  allow_internet_access: z.boolean().nullish(),
  network: Network.nullish(),
  autoPause: z.boolean().nullish(),
  autoPauseMemory: z.boolean().nullish(),
  autoResume: z.object({ enabled: z.boolean().nullish() }).nullish(),
  volumeMounts: z.array(z.unknown()).nullish(),
  iam: z.record(z.string(), z.unknown()).nullish(),
});
export type NewSandbox = z.infer<typeof NewSandbox>;

/** Body of both connect routes and of `resume`. */
export const ConnectSandbox = z.object({
  timeout: seconds.nullish(),
  memory: z.boolean().nullish(),
});

/** Body of `pause`. */
export const PauseSandbox = z.object({ memory: z.boolean().nullish() });

/** Body of `timeout`. */
export const SetTimeout = z.object({ timeout: seconds });

/** Body of `refreshes`. */
export const Refresh = z.object({ duration: z.int().min(1).max(REFRESH_SECONDS_MAX).nullish() });

const unixSeconds = z
  .string()
  .regex(/^\d{1,12}$/, "unix seconds, an integer")
  .transform(Number);

/** Query of `metrics`. */
export const MetricsQuery = z.object({
  start: unixSeconds.optional(),
  end: unixSeconds.optional(),
});

/** Query of the list; `state` and `metadata` are taken apart by the route. */
export const ListQuery = z.object({
  order: z.enum(["asc", "desc"]).optional(),
  startedAfter: z.iso.datetime({ offset: true, error: "an RFC 3339 time" }).optional(),
  template: z.string().optional(),
  nextToken: z.string().optional(),
  state: z.array(z.enum(["running", "paused"])).optional(),
  limit: z
    .string()
    .regex(/^[1-9]\d{0,2}$/, `an integer from 1 to ${LIMITS.pageMax}`)
    .transform(Number)
    .pipe(z.number().max(LIMITS.pageMax))
    .optional(),
});
