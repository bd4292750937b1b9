import { hash, timingSafeEqual } from "node:crypto";
import { malformed, type Refusal, signatureRefused } from "./answers.ts";

/** A live sandbox and the token that its agent asks for. */
export interface Owner {
  readonly sandboxId: string;
  /** Secret: only ever compared, never written down. */
  readonly accessToken: string;
}

/** What a signed file URL says. */
export interface SignedUrl {
  /** `v1_` and 43 characters of base64. */
  readonly signature: string;
  /** Everything that is signed but the token, in E2B's order. */
  readonly subject: readonly [path: string, operation: "read" | "write", user: string];
  /** Unix seconds as they stood in the URL; absent means that it never ends. */
  readonly expiration: string | undefined;
}

/** Finds the sandbox of a signed file URL. */
export interface SignatureIndex {
  /**
   * The sandbox whose token made the signature; `undefined` when none of the live ones did.
   *
   * @throws Error when too many unknown signatures wait to be looked for.
   */
  find(url: SignedUrl): Promise<string | undefined>;
}

const SIGNATURE = /^v1_[A-Za-z0-9+/]{43}$/;
/** Sandboxes that are tried before other work gets its turn: about half a millisecond. */
const TRIES_PER_TURN = 256;
/** URLs that may wait for their scan. */
const WAITING_COUNT_MAX = 256;

/**
 * Makes the signature of a file URL. Source: E2B's clients (npm e2b 2.51.0, `signature.ts`).
 *
 * @returns `v1_` and base64 without padding.
 */
export function signFileUrl(url: Omit<SignedUrl, "signature">, accessToken: string): string {
  const parts: string[] = [...url.subject, accessToken];
  if (url.expiration !== undefined) parts.push(url.expiration);
  return `v1_${hash("sha256", parts.join(":"), "base64").replace(/=+$/, "")}`;
}

/**
 * Reads the signed parts of `/files?…`, raw as the agent does.
 *
 * @returns The parts, or why they are refused: a parameter given twice, a form that no signature
 *   has, a moment that has passed.
 */
export function readSignedUrl(method: string, url: string, nowMs: number): SignedUrl | Refusal {
  const query = new URLSearchParams(url.slice(url.indexOf("?") + 1));
  for (const name of ["path", "username", "signature", "signature_expiration"]) {
    if (query.getAll(name).length > 1) return malformed(`The parameter ${name} is given twice`);
  }
  // A plus sign that a client forgot to escape reads as a space.
  const signature = (query.get("signature") ?? "").replaceAll(" ", "+");
  if (!SIGNATURE.test(signature)) return signatureRefused("invalid signature");
  const expiration = query.get("signature_expiration") ?? undefined;
  if (expiration !== undefined && !/^\d{1,15}$/.test(expiration)) {
    return malformed("The parameter signature_expiration must be Unix seconds");
  }
  if (expiration !== undefined && Number(expiration) * 1000 < nowMs) {
    return signatureRefused("signature is already expired");
  }
  const operation = method === "GET" || method === "HEAD" ? "read" : "write";
  return {
    signature,
    subject: [query.get("path") ?? "", operation, query.get("username") ?? ""],
    expiration,
  };
}

/**
 * Recomputes the signature with the token of one live sandbox after the other, newest first.
 *
 * @param owners Live sandboxes, newest first.
 * @param options.triesMax Sandboxes tried per URL. Default 10,000.
 * @param options.memoryMs How long a match is remembered, milliseconds. Default 60,000: a browser
 *   that reads a file in ranges asks for the same URL again and again.
 * @param options.memoryCountMax Matches remembered. Default 1,000.
 */
export function createSignatureIndex(
  owners: () => AsyncIterable<Owner> | Iterable<Owner>,
  options: { triesMax?: number; memoryMs?: number; memoryCountMax?: number } = {},
): SignatureIndex {
  const { triesMax = 10_000, memoryMs = 60_000, memoryCountMax = 1_000 } = options;
  const memory = new Map<string, { readonly sandboxId: string; readonly untilMs: number }>();
  // Scans queue up behind each other: a flood of forged signatures costs one scan's share of time.
  let turn: Promise<unknown> = Promise.resolve();
  let waiting = 0;

  async function scan(url: SignedUrl): Promise<string | undefined> {
    const wanted = Buffer.from(url.signature);
    let tries = 0;
    for await (const owner of owners()) {
      if (isEqual(Buffer.from(signFileUrl(url, owner.accessToken)), wanted)) return owner.sandboxId;
      tries += 1;
      if (tries >= triesMax) return undefined;
      if (tries % TRIES_PER_TURN === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    return undefined;
  }

  return {
    async find(url) {
      const key = JSON.stringify([url.signature, ...url.subject, url.expiration]);
      const known = memory.get(key);
      if (known !== undefined && known.untilMs > Date.now()) return known.sandboxId;
      memory.delete(key);
      if (waiting >= WAITING_COUNT_MAX) throw new Error("Too many signatures wait for their turn");
      waiting += 1;
      const result = turn.then(() => scan(url)).finally(() => (waiting -= 1));
      turn = result.catch(() => undefined);
      const sandboxId = await result;
      if (sandboxId === undefined) return undefined;
      const oldest = memory.keys().next();
      if (memory.size >= memoryCountMax && !oldest.done) memory.delete(oldest.value);
      memory.set(key, { sandboxId, untilMs: Date.now() + memoryMs });
      return sandboxId;
    },
  };
}

function isEqual(a: Buffer, b: Buffer): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}
