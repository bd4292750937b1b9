import { createHash, createHmac, randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ControlPlaneError, type SandboxId } from "@soulbox/core";
import { exportJWK, generateKeyPair, type JWK } from "jose";
import { z } from "zod";

const Kept = z.strictObject({
  /** Marks the instances of this data directory. */
  stage: z.string().regex(/^[a-z0-9]{12}$/),
  /** Every sandbox's tokens derive from it: 32 bytes, hex. */
  tokenSecret: z.string().regex(/^[0-9a-f]{64}$/),
  /** Signs `init`. */
  initKey: z.strictObject({
    kty: z.literal("OKP"),
    crv: z.literal("Ed25519"),
    x: z.string(),
    d: z.string(),
  }),
  /** The first API key. */
  apiKey: z.string().regex(/^e2b_[0-9a-f]{40}$/),
});

/** What a data directory keeps secret. */
export type Secrets = z.infer<typeof Kept>;

/**
 * Reads `secrets.json` of a data directory, and makes it at the first start (mode 0600).
 *
 * @throws internal when the file is damaged (other secrets would lock its sandboxes out), or can't
 *   be written.
 */
export async function openSecrets(dataDir: string): Promise<Secrets> {
  const file = join(dataDir, "secrets.json");
  if (existsSync(file)) return readSecrets(file);
  const secrets = await makeSecrets();
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  const partial = `${file}.new`;
  const text = `${JSON.stringify(secrets, undefined, 2)}\n`;
  try {
    writeFileSync(partial, text, { mode: 0o600, flush: true });
    renameSync(partial, file);
  } catch (cause) {
    throw new ControlPlaneError("internal", `${file} can't be written: ${String(cause)}.`, {
      hint: "Make room, give this user write access, or set SOULBOX_DATA_DIR to another directory.",
      cause,
    });
  }
  return secrets;
}

function readSecrets(file: string): Secrets {
  try {
    return Kept.parse(JSON.parse(readFileSync(file, "utf8")));
  } catch (cause) {
    throw new ControlPlaneError("internal", `${file} is damaged.`, {
      hint: "Restore it from a backup. Moving it away makes new secrets: the keys given out so far and the sandboxes that run are then lost.",
      cause,
    });
  }
}

async function makeSecrets(): Promise<Secrets> {
  const { privateKey } = await generateKeyPair("EdDSA", { crv: "Ed25519", extractable: true });
  const { kty, crv, x, d }: JWK = await exportJWK(privateKey);
  return Kept.parse({
    stage: randomBytes(6).toString("hex"),
    tokenSecret: randomBytes(32).toString("hex"),
    initKey: { kty, crv, x, d },
    apiKey: randomApiKey(),
  });
}

/** A fresh key: `e2b_` and 40 hex digits, the form that every E2B client accepts. */
export function randomApiKey(): string {
  return `e2b_${randomBytes(20).toString("hex")}`;
}

/** A token of a sandbox: derived, so that any process has it and nobody stores it. */
export function deriveToken(secrets: Secrets, purpose: "agent" | "traffic", id: SandboxId): string {
  const key = Buffer.from(secrets.tokenSecret, "hex");
  return createHmac("sha256", key).update(`${purpose}:${id}`).digest("hex");
}

/** SHA-256 of a text, lower-case hex. */
export function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
