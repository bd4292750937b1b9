import { after, ControlPlaneError, durationMs, type Sandbox } from "@soulbox/core";
import type { Context, Handler } from "hono";
import { readBody } from "../body.ts";
import type { ApiEnv } from "../env.ts";
import type { ApiPorts } from "../ports.ts";
import { settleFully } from "../settle.ts";
import { ConnectSandbox, PauseSandbox, Refresh, SetTimeout } from "./requests.ts";
import { liveSandbox, requireUsable } from "./sandboxes.ts";
import { e2bState, GENERATIONS, type Generation, sandboxView } from "./translate.ts";

/** Step of the old `refreshes` route when the caller names none, seconds. */
const REFRESH_SECONDS_DEFAULT = 15;

/**
 * `POST …/connect`: 200 for a running sandbox, whose life it only lengthens; 201 for a paused one,
 * which it resumes with a life of its own.
 */
export function connectSandbox(ports: ApiPorts, generation: Generation): Handler<ApiEnv, "/:id"> {
  return async (c) => {
    const caller = c.get("caller");
    const body = await readBody(c.req.raw, ConnectSandbox);
    requireMemory(body.memory);
    const seconds = body.timeout ?? GENERATIONS[generation].timeoutSeconds;
    const sandbox = await restingSandbox(ports, c);
    if (sandbox.state === "paused") {
      return c.json(sandboxView(ports, await wake(ports, c, sandbox, seconds)), 201);
    }
    const expiresAtMs = after(ports.clock.now(), seconds * 1000);
    const longer = await ports.controlPlane.extend(caller, sandbox.id, expiresAtMs, "lengthen");
    return c.json(sandboxView(ports, longer), 200);
  };
}

/** `POST …/resume`, the old way: 201; 409 when it isn't paused. */
export function resumeSandbox(ports: ApiPorts): Handler<ApiEnv, "/:id"> {
  return async (c) => {
    const body = await readBody(c.req.raw, ConnectSandbox);
    requireMemory(body.memory);
    const sandbox = await restingSandbox(ports, c);
    if (sandbox.state !== "paused") throw conflict(sandbox);
    const seconds = body.timeout ?? GENERATIONS.v1.timeoutSeconds;
    return c.json(sandboxView(ports, await wake(ports, c, sandbox, seconds)), 201);
  };
}

/** `POST …/pause`: 204; 409, which clients read as "was paused", only when it is paused. */
export function pauseSandbox(ports: ApiPorts): Handler<ApiEnv, "/:id"> {
  return async (c) => {
    const caller = c.get("caller");
    const body = await readBody(c.req.raw, PauseSandbox);
    requireMemory(body.memory);
    const sandbox = await liveSandbox(ports, caller, c.req.param("id"));
    if (e2bState(sandbox.state) === "paused") throw conflict(sandbox);
    const { signal } = c.req.raw;
    const { id } = await settleFully(ports, caller, sandbox, signal);
    const pausing = await ports.controlPlane.pause(caller, id);
    requirePaused(await settleFully(ports, caller, pausing, signal));
    return c.body(null, 204);
  };
}

/** `POST …/timeout`: sets the end of life, earlier or later. */
export function setTimeoutOf(ports: ApiPorts): Handler<ApiEnv, "/:id"> {
  return async (c) => {
    const caller = c.get("caller");
    const { timeout } = await readBody(c.req.raw, SetTimeout);
    const { id } = await liveSandbox(ports, caller, c.req.param("id"));
    const expiresAtMs = after(ports.clock.now(), timeout * 1000);
    await ports.controlPlane.extend(caller, id, expiresAtMs, "set");
    return c.body(null, 204);
  };
}

/** `POST …/refreshes`, the old way to lengthen a life. */
export function refreshSandbox(ports: ApiPorts): Handler<ApiEnv, "/:id"> {
  return async (c) => {
    const caller = c.get("caller");
    const { duration } = await readBody(c.req.raw, Refresh);
    const { id } = await liveSandbox(ports, caller, c.req.param("id"));
    const expiresAtMs = after(ports.clock.now(), (duration ?? REFRESH_SECONDS_DEFAULT) * 1000);
    await ports.controlPlane.extend(caller, id, expiresAtMs, "lengthen");
    return c.body(null, 204);
  };
}

/** The sandbox that the path names, once nothing is under way with it. */
async function restingSandbox(ports: ApiPorts, c: Context<ApiEnv, "/:id">): Promise<Sandbox> {
  const caller = c.get("caller");
  const sandbox = await liveSandbox(ports, caller, c.req.param("id"));
  const settled = await settleFully(ports, caller, sandbox, c.req.raw.signal);
  requireUsable(settled);
  return settled;
}

async function wake(
  ports: ApiPorts,
  c: Context<ApiEnv>,
  { id }: Sandbox,
  seconds: number,
): Promise<Sandbox> {
  const caller = c.get("caller");
  const resuming = await ports.controlPlane.resume(caller, id, durationMs(seconds * 1000));
  const sandbox = await settleFully(ports, caller, resuming, c.req.raw.signal);
  requireUsable(sandbox);
  return sandbox;
}

function requirePaused(sandbox: Sandbox): void {
  requireUsable(sandbox);
  if (sandbox.state === "paused") return;
  const detail = `Sandbox ${sandbox.id} could not be paused; it is ${sandbox.state}.`;
  throw new ControlPlaneError("provider_error", detail);
}

function requireMemory(memory: boolean | null | undefined): void {
  if (memory !== false) return;
  throw new ControlPlaneError(
    "unsupported",
    "memory is false, but a pause always keeps memory here.",
  );
}

function conflict({ id, state }: Sandbox): ControlPlaneError {
  return new ControlPlaneError("state_conflict", `Sandbox ${id} is ${state} already.`);
}
