import { decide, isSandboxId, launchOf, type Ports, settleSandbox } from "@soulbox/core";
import type { Resolution } from "@soulbox/gateway";

/** What the store says of a sandbox, in the gateway's words. */
export async function resolveRoute(ports: Ports, id: string): Promise<Resolution> {
  if (!isSandboxId(id)) return { kind: "gone" };
  const row = await ports.store.get(id);
  if (row === undefined) return { kind: "gone" };
  const { publicTraffic, maskRequestHost } = row.spec.network;
  switch (row.state) {
    case "running":
      if (row.agentAddress === undefined) return { kind: "gone" };
      return {
        kind: "route",
        route: {
          launchId: launchOf(row),
          address: row.agentAddress,
          publicTraffic,
          maskRequestHost,
        },
      };
    case "paused":
    case "pausing":
      return { kind: "paused", autoResume: row.spec.autoResume, publicTraffic };
    case "pending":
    case "resuming":
      return { kind: "busy" };
    default:
      return { kind: "gone" };
  }
}

/** Resumes a paused sandbox for a request, and tells where it answers then. */
export async function wakeSandbox(
  ports: Ports,
  id: string,
  signal: AbortSignal,
): Promise<Resolution> {
  if (!isSandboxId(id)) return { kind: "gone" };
  const row = await decide(ports, id, (now) =>
    now.state === "paused" && now.spec.autoResume
      ? { kind: "resume", lifetimeMs: now.spec.lifetimeMs }
      : undefined,
  );
  await settleSandbox(ports, row, signal);
  return resolveRoute(ports, id);
}
