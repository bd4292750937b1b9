import { z } from "zod";

/** Port that every agent answers on, and that E2B's clients ask for. */
export const AGENT_PORT = 49983;

/**
 * Version of E2B's agent protocol that ours speaks; it unlocks features in E2B's clients.
 * Source: the version gates of the npm package e2b 2.51.0, read 2026-11-25.
 */
export const ENVD_VERSION = "0.6.13";

/** Environment variables that a provider starts the agent with. None of them is a secret. */
export const AGENT_ENV = {
  /** `tcp:<address>:<port>` or `unix:<path>`. Default `tcp:0.0.0.0:49983`. */
  listen: "SOULBOX_LISTEN",
  /** Launch id of this instance; `init` must be addressed to it. */
  launchId: "SOULBOX_LAUNCH_ID",
  /** Ed25519 public key that `init` is signed with: the JWK member `x`, base64url, 32 bytes. */
  initKey: "SOULBOX_INIT_KEY",
} as const;

/**
 * Claims of the signed `POST /init`, a compact JWS (EdDSA, content type `application/jose`).
 * It turns an anonymous instance into one sandbox. The same claims again are harmless; claims for
 * another sandbox are refused with 409.
 */
export const InitClaims = z.object({
  /** Launch id of the instance that the claims are for. */
  aud: z.string(),
  /** Unix seconds of signing. */
  iat: z.number().int(),
  /** Unix seconds after which the claims are refused. */
  exp: z.number().int(),
  sandboxId: z.string(),
  /** Template name, for `E2B_TEMPLATE_ID`. */
  templateId: z.string(),
  /** Token that clients must present; `null` leaves the agent open (E2B's `secure: false`). */
  accessToken: z.string().nullable(),
  /** Variables that every process gets. */
  env: z.record(z.string(), z.string()),
  /** User that processes and files belong to when a request names none. */
  defaultUser: z.string(),
  /** Directory that processes start in; absent means the user's home. */
  defaultWorkdir: z.string().optional(),
});
export type InitClaims = z.infer<typeof InitClaims>;
