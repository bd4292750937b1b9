import {
  type Caller,
  ControlPlaneError,
  createControlPlane,
  durationMs,
  type Ports,
  type Sandbox,
  type TenantId,
} from "@soulbox/core";
import { HEADERS } from "@soulbox/protocol";
import { deriveToken, type Secrets } from "./secrets.ts";

/** What one sandbox did to show that everything works. */
export interface Proof {
  /** What the program printed. */
  readonly output: string;
  /** From the create to the output, milliseconds. */
  readonly elapsedMs: number;
  /** What it cost, in whole nano-dollars. */
  readonly amountNanoUsd: bigint;
}

/** The proof's own tenant, so that no customer's ledger holds it. */
const OPERATOR: Caller = {
  tenantId: "soulbox" as TenantId,
  scopes: new Set(["operator"]),
  sandboxCountMax: 4,
};
const LIFETIME_MS = durationMs(60_000);

/**
 * Creates a sandbox, runs a command in it through the server's own gateway, and ends it.
 *
 * @throws what create and settle throw; provider_error when the command doesn't answer as it must.
 */
export async function proveItWorks(ports: Ports, secrets: Secrets, url: string): Promise<Proof> {
  const controlPlane = createControlPlane(ports);
  const { signal } = new AbortController();
  const beganAtMs = performance.now();
  const created = await controlPlane.create(OPERATOR, {
    template: "base",
    lifetimeMs: LIFETIME_MS,
  });
  const running = await controlPlane.settle(created, signal);
  try {
    const output = await echo(running, secrets, url);
    const elapsedMs = performance.now() - beganAtMs;
    const ending = await controlPlane.terminate(OPERATOR, running.id);
    await controlPlane.settle(ending, signal);
    const { amount } = await controlPlane.cost(OPERATOR, running.id);
    return { output, elapsedMs, amountNanoUsd: amount };
  } catch (error) {
    const ending = await controlPlane.terminate(OPERATOR, running.id).catch(() => undefined);
    if (ending !== undefined) await controlPlane.settle(ending, signal);
    throw error;
  }
}

/** Runs `echo` by the agent's own protocol: one request frame, and the frames of the answer. */
async function echo(sandbox: Sandbox, secrets: Secrets, url: string): Promise<string> {
  const request = JSON.stringify({
    process: { cmd: "/bin/echo", args: ["hello from a sandbox"] },
    stdin: false,
  });
  const frame = Buffer.alloc(5 + Buffer.byteLength(request));
  frame.writeUInt32BE(Buffer.byteLength(request), 1);
  frame.write(request, 5);
  const response = await fetch(`${url}/process.Process/Start`, {
    method: "POST",
    headers: {
      [HEADERS.sandboxId]: sandbox.id,
      [HEADERS.accessToken]: deriveToken(secrets, "agent", sandbox.id),
      "content-type": "application/connect+json",
      "connect-protocol-version": "1",
    },
    body: frame,
  });
  const answer = Buffer.from(await response.arrayBuffer());
  let output = "";
  for (let at = 0; at + 5 <= answer.length; ) {
    const end = at + 5 + answer.readUInt32BE(at + 1);
    const message: { event?: { data?: { stdout?: string } } } = JSON.parse(
      answer.subarray(at + 5, end).toString(),
    );
    output += Buffer.from(message.event?.data?.stdout ?? "", "base64").toString();
    at = end;
  }
  if (output.trim() === "hello from a sandbox") return output.trim();
  throw new ControlPlaneError(
    "provider_error",
    `The proof sandbox answered ${response.status} with ${JSON.stringify(output.slice(0, 200))}.`,
  );
}
