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
import { type Waker, within } from "./wake.ts";

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
export function admit(
  request: IncomingMessage,
  place: Place,
  ports: GatewayPorts,
  limits: GatewayLimits,
  waker: Waker,
): Admission | Promise<Admission> {
  let found: Promise<Resolution> | Resolution;
  try {
    found = ports.resolve(place.sandboxId);
  } catch (error) {
    return lookUpFailed(place, ports, error);
  }
  // An answer at hand is not made to wait: there is one per request.
  if (!(found instanceof Promise)) return decide(request, place, ports, waker, found);
  return within(found, limits.resolveMsMax).then(
    (resolution) => decide(request, place, ports, waker, resolution),
    (error: unknown) => lookUpFailed(place, ports, error),
  );
}

function decide(
  request: IncomingMessage,
  place: Place,
  ports: GatewayPorts,
  waker: Waker,
  resolution: Resolution,
): Admission | Promise<Admission> {
  if (resolution.kind !== "paused" || !resolution.autoResume || isProbe(request, place)) {
    return admitResolved(request, place, ports, resolution);
  }
  return admitByWaking(request, place, ports, waker, resolution.publicTraffic !== false);
}

function lookUpFailed({ sandboxId }: Place, ports: GatewayPorts, error: unknown): Admission {
  ports.log("gateway.resolve_failed", { sandboxId, error });
  return refuse(unavailable("The sandbox can't be looked up now; try again", "resolve_failed"));
}

async function admitByWaking(
  request: IncomingMessage,
  place: Place,
  ports: GatewayPorts,
  waker: Waker,
  publicTraffic: boolean,
): Promise<Admission> {
  const fault = publicTraffic ? undefined : trafficFault(request, place, ports);
  if (fault !== undefined) return refuse(fault);
  try {
    const resolution = await waker.wake(place.sandboxId);
    return admitResolved(request, place, ports, resolution);
  } catch (error) {
    ports.log("gateway.wake_failed", { sandboxId: place.sandboxId, error });
    return refuse(unavailable("The sandbox could not be resumed; try again", "wake_failed", 2));
  }
}

function admitResolved(
  request: IncomingMessage,
  place: Place,
  ports: GatewayPorts,
  resolution: Resolution,
): Admission {
  switch (resolution.kind) {
    case "gone":
    case "paused":
      return refuse(notFound(place.sandboxId));
    case "busy":
      return refuse(changingState(place.sandboxId));
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
