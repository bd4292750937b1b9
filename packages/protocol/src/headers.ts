/** Header names, lower case, as Node and the web API hand them out. */
export const HEADERS = {
  /** Makes a create repeatable: the same key answers with the same sandbox. */
  idempotencyKey: "idempotency-key",
  /** Names one request in logs and error answers. */
  requestId: "x-request-id",
  /** API key of E2B's clients. */
  apiKey: "x-api-key",
  /** Sandbox that a data-plane request is for. */
  sandboxId: "e2b-sandbox-id",
  /** Port inside that sandbox; absent means the agent's own. */
  sandboxPort: "e2b-sandbox-port",
  /** Token that opens a sandbox's agent. */
  accessToken: "x-access-token",
  /** Launch that the gateway believes it talks to; an agent of another launch refuses. */
  launchId: "soulbox-launch",
} as const;
