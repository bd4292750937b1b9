import type { InitClaims } from "@soulbox/protocol";
import { optionalText, parseMessage, textMap } from "./message.ts";

/** Why an `init` is refused. */
export class InitRefused extends Error {}

/** Longest `init`, bytes: the variables of a sandbox make up most of it. */
export const INIT_BYTES_MAX = 1024 * 1024;

/** What an `init` is checked against. */
export interface InitCheck {
  /** Ed25519 public key, 32 bytes. */
  readonly key: Uint8Array<ArrayBuffer>;
  /** Launch id of this instance. */
  readonly launchId: string;
  /** Unix seconds. */
  readonly nowSeconds: number;
}

/**
 * Verifies a signed `init`: compact JWS, EdDSA.
 *
 * By hand, since this is the only token that the agent ever sees: one algorithm, one key, two
 * claims to check, and no room in its boot time and memory for a library.
 *
 * @throws InitRefused when the signature, the audience, the expiry or a claim is not right.
 */
export async function verifyInit(jws: string, check: InitCheck): Promise<InitClaims> {
  const parts = jws.trim().split(".");
  if (parts.length !== 3 || parts.some((part) => !/^[A-Za-z0-9_-]+$/.test(part))) {
    throw new InitRefused("the body is not a compact JWS");
  }
  const [header = "", payload = "", signature = ""] = parts;
  const { alg, crit } = decode(header, "header");
  if (alg !== "EdDSA" && alg !== "Ed25519") {
    throw new InitRefused(`alg ${JSON.stringify(alg)} is not EdDSA`);
  }
  if (crit !== undefined) throw new InitRefused("crit names extensions that are not known");
  const key = await crypto.subtle.importKey("raw", check.key, { name: "Ed25519" }, false, [
    "verify",
  ]);
  const signed = Buffer.from(`${header}.${payload}`);
  const bytes = Buffer.from(signature, "base64url");
  if (!(await crypto.subtle.verify({ name: "Ed25519" }, key, bytes, signed))) {
    throw new InitRefused("the signature is not by the key of this instance");
  }
  const claims = readClaims(decode(payload, "payload"));
  if (claims.aud !== check.launchId) {
    throw new InitRefused(`aud is ${JSON.stringify(claims.aud)}, not this instance`);
  }
  if (claims.exp <= check.nowSeconds) {
    throw new InitRefused(`exp is ${claims.exp}, the time is ${check.nowSeconds}`);
  }
  return claims;
}

function decode(part: string, what: string): Readonly<Record<string, unknown>> {
  try {
    return parseMessage(Buffer.from(part, "base64url").toString());
  } catch (error) {
    throw new InitRefused(`the ${what} is wrong: ${String(error)}`);
  }
}

function readClaims(payload: Readonly<Record<string, unknown>>): InitClaims {
  const need = (name: string): string => {
    const value = optionalText(payload, name);
    if (value === undefined) throw new InitRefused(`${name} is missing`);
    return value;
  };
  const seconds = (name: string): number => {
    const value = payload[name];
    if (typeof value === "number" && Number.isInteger(value)) return value;
    throw new InitRefused(`${name} is not whole seconds`);
  };
  try {
    if (!("accessToken" in payload)) throw new InitRefused("accessToken is missing");
    const workdir = optionalText(payload, "defaultWorkdir");
    return {
      aud: need("aud"),
      iat: seconds("iat"),
      exp: seconds("exp"),
      sandboxId: need("sandboxId"),
      templateId: need("templateId"),
      accessToken: optionalText(payload, "accessToken") ?? null,
      env: { ...textMap(payload, "env") },
      defaultUser: need("defaultUser"),
      ...(workdir === undefined ? {} : { defaultWorkdir: workdir }),
    };
  } catch (error) {
    if (error instanceof InitRefused) throw error;
    throw new InitRefused(error instanceof Error ? error.message : String(error));
  }
}
