import { type Caller, ControlPlaneError, quote, type Sandbox } from "@soulbox/core";
import type { ApiPorts } from "./ports.ts";

/** Characters of an agent's message that go into an error. */
const MESSAGE_CHARS_MAX = 300;

/**
 * Sends a request to the agent of a running sandbox and streams its answer.
 *
 * @throws state_conflict when the sandbox isn't running; sandbox_ended when it has ended;
 *   provider_unavailable when the agent doesn't answer; else what {@link agentError} says.
 */
export async function callAgent(
  ports: ApiPorts,
  sandbox: Sandbox,
  path: string,
  init: RequestInit,
): Promise<Response> {
  requireRunning(sandbox);
  let response: Response;
  try {
    response = await ports.agentFetch(sandbox, path, init);
  } catch (error) {
    const detail = `The agent of sandbox ${sandbox.id} doesn't answer.`;
    throw new ControlPlaneError("provider_unavailable", detail, {
      hint: "Look at the sandbox's state; it may be ending.",
      cause: error,
    });
  }
  if (response.ok) return response;
  throw agentError(sandbox, response.status, await messageOf(response));
}

/** @throws sandbox_ended or state_conflict unless the sandbox is running. */
export function requireRunning(sandbox: Sandbox): void {
  const { id, state, endReason } = sandbox;
  if (state === "running") return;
  if (state === "terminating" || state === "terminated" || state === "failed") {
    const why = endReason === undefined ? "" : ` (${endReason})`;
    throw new ControlPlaneError("sandbox_ended", `Sandbox ${id} is ${state}${why}.`, {
      details: { state, ...(endReason === undefined ? {} : { endReason }) },
    });
  }
  const isPaused = state === "paused" || state === "pausing";
  throw new ControlPlaneError("state_conflict", `Sandbox ${id} is ${state}, not running.`, {
    hint: isPaused ? "Resume it first." : "Wait until it is running: GET it with ?wait=60.",
    details: { state },
  });
}

/** The agent's answer as our error. */
export function agentError(sandbox: Sandbox, status: number, message: string): ControlPlaneError {
  const detail = `Sandbox ${sandbox.id}: ${message}`;
  if (status === 404) return new ControlPlaneError("not_found", detail);
  if (status === 413) return new ControlPlaneError("payload_too_large", detail);
  if (status === 507) {
    return new ControlPlaneError("quota_exceeded", detail, {
      hint: "Remove files in the sandbox, or create one with more disk.",
    });
  }
  if (status >= 400 && status < 500 && status !== 401) {
    return new ControlPlaneError("invalid_request", detail);
  }
  return new ControlPlaneError("provider_error", detail, { details: { agentStatus: status } });
}

/** A sandbox's current row, for the caller. */
export function runningSandbox(ports: ApiPorts, caller: Caller, id: Sandbox["id"]) {
  return ports.controlPlane.get(caller, id).then((sandbox) => {
    requireRunning(sandbox);
    return sandbox;
  });
}

async function messageOf(response: Response): Promise<string> {
  const text = await response.text().catch(() => "");
  try {
    const body: unknown = JSON.parse(text);
    const message = typeof body === "object" && body !== null && Reflect.get(body, "message");
    if (typeof message === "string") return message.slice(0, MESSAGE_CHARS_MAX);
  } catch {
    // Not JSON: its text, shortened, still tells more than the status.
  }
  return text === "" ? `its agent answered ${response.status}` : quote(text);
}
