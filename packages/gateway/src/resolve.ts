import { hash, timingSafeEqual } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { AGENT_PORT } from "@soulbox/protocol";
import {
  changingState,
  notFound,
  type Refusal,
  trafficTokenRefused,
  unavailable,
} from "./answers.ts";
import type { GatewayLimits, GatewayPorts, Resolution, Route } from "./ports.ts";
import { type Waker, withSignal } from "./wake.ts";

/** A route that the request may take, or why not. */
export type Admission =
  | { readonly kind: "route"; readonly route: Route }
  | { readonly kind: "refused"; readonly refusal: Refusal };

/** A sandbox and a port in it. */
export interface Place {
  readonly sandboxId: string;
  readonly port: number;
}

/**
 * Looks up where a sandbox answers, wakes it when it may be woken, and checks the traffic token.
 *
 * Any request wakes a paused sandbox with auto resume, except a look at the agent's `/health`:
 * whoever only asks whether it runs must not start it.
 */
export async function admit(
  request: IncomingMessage,
  place: Place,
  ports: GatewayPorts,
  limits: GatewayLimits,
  waker: Waker,
): Promise<Admission> {
  const { sandboxId } = place;
  let resolution: Resolution;
  try {
    const found = ports.resolve(sandboxId);
    resolution =
      found instanceof Promise
        ? await withSignal(found, AbortSignal.timeout(limits.resolveMsMax))
        : found;
  } catch (error) {
    ports.log("gateway.resolve_failed", { sandboxId, error });
    return refuse(unavailable("The sandbox can't be looked up now; try again", "resolve_failed"));
  }

  if (resolution.kind === "paused" && resolution.autoResume && !isProbe(request, place)) {
    if (resolution.publicTraffic === false) {
      const fault = trafficFault(request, place, ports);
      if (fault !== undefined) return refuse(fault);
    }
    try {
      resolution = await waker.wake(sandboxId);
    } catch (error) {
      ports.log("gateway.wake_failed", { sandboxId, error });
      return refuse(unavailable("The sandbox could not be resumed; try again", "wake_failed", 2));
    }
  }

  switch (resolution.kind) {
    case "gone":
    case "paused":
      return refuse(notFound(sandboxId));
    case "busy":
      return refuse(changingState(sandboxId));
    case "route": {
      const { route } = resolution;
      const fault = route.publicTraffic ? undefined : trafficFault(request, place, ports);
      return fault === undefined ? { kind: "route", route } : refuse(fault);
    }
  }
}

function trafficFault(
  request: IncomingMessage,
  { sandboxId, port }: Place,
  ports: GatewayPorts,
): Refusal | undefined {
  if (port === AGENT_PORT) return undefined;
  const given = request.headers["e2b-traffic-access-token"];
  if (given === undefined || given === "") return trafficTokenRefused(sandboxId, true);
  const isRight = timingSafeEqual(
    hash("sha256", String(given), "buffer"),
    hash("sha256", ports.trafficToken(sandboxId), "buffer"),
  );
  return isRight ? undefined : trafficTokenRefused(sandboxId, false);
}

function isProbe(request: IncomingMessage, { port }: Place): boolean {
  return port === AGENT_PORT && /^\/health\/?(?:\?|$)/.test(request.url ?? "");
}

function refuse(refusal: Refusal): Admission {
  return { kind: "refused", refusal };
}
