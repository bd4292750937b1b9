import type { Caller } from "@soulbox/core";

/** What middleware leaves for handlers, as Hono's environment type. */
export interface ApiEnv {
  Variables: {
    /** Names this request in logs and errors. */
    requestId: string;
    /** Who asks; set by {@link allow}. */
    caller: Caller;
  };
}
