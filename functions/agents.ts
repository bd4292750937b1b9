import { request as httpRequest } from "node:http";
import type { Agents, InitAnswer, Sandbox } from "@soulbox/core";
import { launchOf } from "@soulbox/core";
import { createConnector } from "@soulbox/gateway";
import { AGENT_ENV, type InitClaims } from "@soulbox/protocol";
import { importJWK, SignJWT } from "jose";
import { deriveToken, type Secrets } from "./secrets.ts";

/** How long a signed `init` is good for, seconds. */
const INIT_SECONDS = 120;
/** One connect to an agent, milliseconds: it is a neighbour, or not there yet. */
const CONNECT_MS = 1000;
/** One `init`, milliseconds. */
const ANSWER_MS = 5000;

/** The agents, reached directly at the address that their provider reports. */
export async function createAgents(secrets: Secrets, nowMs: () => number): Promise<Agents> {
  const key = await importJWK(secrets.initKey, "EdDSA");

  async function sign(sandbox: Sandbox): Promise<string> {
    const { spec } = sandbox;
    const claims: Omit<InitClaims, "aud" | "iat" | "exp"> = {
      sandboxId: sandbox.id,
      templateId: spec.templateId,
      accessToken: spec.secure ? deriveToken(secrets, "agent", sandbox.id) : null,
      env: { ...spec.env },
      defaultUser: "user",
    };
    const seconds = Math.floor(nowMs() / 1000);
    return new SignJWT({ ...claims })
      .setProtectedHeader({ alg: "EdDSA" })
      .setAudience(launchOf(sandbox))
      .setIssuedAt(seconds)
      .setExpirationTime(seconds + INIT_SECONDS)
      .sign(key);
  }

  const signed = new Map<string, { readonly jws: string; readonly untilMs: number }>();
  return {
    launchEnv: (launchId) => ({
      [AGENT_ENV.launchId]: launchId,
      [AGENT_ENV.initKey]: secrets.initKey.x,
    }),
    async init(sandbox, address, signal) {
      const launchId = launchOf(sandbox);
      const kept = signed.get(launchId);
      const isFresh = kept !== undefined && kept.untilMs > nowMs();
      const jws = isFresh ? kept.jws : await sign(sandbox);
      if (!isFresh) signed.set(launchId, { jws, untilMs: nowMs() + (INIT_SECONDS * 1000) / 2 });
      const answer = await post(address, jws, signal);
      if (answer === "ready") signed.delete(launchId);
      return answer;
    },
  };
}

/** Posts `init` on a connection of its own. Nothing there, and nothing sensible said, is silence. */
function post(address: string, jws: string, signal: AbortSignal): Promise<InitAnswer> {
  return new Promise((resolve) => {
    let connector: ReturnType<typeof createConnector>;
    try {
      connector = createConnector(address, CONNECT_MS);
    } catch {
      // A unix socket that isn't there yet.
      resolve("silent");
      return;
    }
    const finish = (answer: InitAnswer) => {
      resolve(answer);
      connector.destroy();
    };
    connector.open((error, socket) => {
      if (error !== null || socket === null) return finish("silent");
      const request = httpRequest({
        createConnection: () => socket,
        method: "POST",
        path: "/init",
        headers: {
          host: "agent",
          connection: "close",
          "content-type": "application/jose",
          "content-length": Buffer.byteLength(jws),
        },
        signal: AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS)]),
      });
      request.on("error", () => finish("silent"));
      request.on("response", (response) => {
        response.resume();
        finish(response.statusCode === 204 ? "ready" : "refused");
      });
      request.end(jws);
    });
  });
}
