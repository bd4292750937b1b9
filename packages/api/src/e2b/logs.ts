import type { Handler } from "hono";
import type { ApiEnv } from "../env.ts";
import type { ApiPorts } from "../ports.ts";
import { liveSandbox } from "./sandboxes.ts";

/**
 * `GET /sandboxes/{id}/logs`: always empty. E2B's logs are those of its own agent and virtual
 * machine; our agent keeps none, and what programs print reaches the client that runs them.
 */
export function getLogs(ports: ApiPorts): Handler<ApiEnv, "/:id"> {
  return async (c) => {
    await liveSandbox(ports, c.get("caller"), c.req.param("id"));
    return c.json({ logs: [], logEntries: [] });
  };
}

/** `GET /v2/sandboxes/{id}/logs`: empty for the same reason. */
export function getLogsV2(ports: ApiPorts): Handler<ApiEnv, "/:id"> {
  return async (c) => {
    await liveSandbox(ports, c.get("caller"), c.req.param("id"));
    return c.json({ logs: [] });
  };
}
