import type { InitClaims } from "@soulbox/protocol";
import { resolvePath } from "./paths.ts";
import { RpcError } from "./rpc-error.ts";
import type { User, Users } from "./users.ts";

/** The sandbox that this instance has become, and what requests to it mean. */
export class Identity {
  readonly claims: InitClaims;
  readonly users: Users;
  readonly #tokenHash: Uint8Array | undefined;

  constructor(claims: InitClaims, users: Users) {
    this.claims = claims;
    this.users = users;
    const { accessToken } = claims;
    this.#tokenHash = accessToken === null ? undefined : sha256(accessToken);
  }

  /** True when no token is needed. */
  get isOpen(): boolean {
    return this.#tokenHash === undefined;
  }

  /** Tells whether a request's token opens the sandbox; takes the same time for any wrong one. */
  accepts(token: string | undefined): boolean {
    if (this.#tokenHash === undefined) return true;
    return token !== undefined && equalBytes(sha256(token), this.#tokenHash);
  }

  /** User named by a request, or the default one. @throws RpcError unauthenticated. */
  user(name: string | undefined): User {
    return this.users.find(name || this.claims.defaultUser);
  }

  /** User named by a request's `authorization` header: Basic, with the name alone. */
  userOf(authorization: string | undefined): User {
    const basic = /^basic +([A-Za-z0-9+/_=-]*)$/i.exec(authorization ?? "")?.[1];
    if (basic === undefined) return this.user(undefined);
    return this.user(Buffer.from(basic, "base64").toString().split(":")[0]);
  }

  /** Absolute form of a path that a user gave. @throws RpcError invalid_argument. */
  path(path: string, user: User): string {
    return resolvePath(path, { home: user.home, workdir: this.workdir(user) });
  }

  /** Directory that a user's commands start in when they name none. */
  workdir(user: User): string {
    const workdir = this.claims.defaultWorkdir ?? user.home;
    return resolvePath(workdir || user.home, { home: user.home, workdir: user.home });
  }

  /** Variables that every process of the sandbox gets. */
  get env(): Record<string, string> {
    return {
      E2B_SANDBOX: "true",
      E2B_SANDBOX_ID: this.claims.sandboxId,
      E2B_TEMPLATE_ID: this.claims.templateId,
      ...this.claims.env,
    };
  }
}

/** Where the identity stands once `init` has set it. */
export interface IdentityHolder {
  identity: Identity | undefined;
}

/** Identity of an initialised agent. @throws RpcError unavailable before `init`. */
export function identityOf(holder: IdentityHolder): Identity {
  if (holder.identity !== undefined) return holder.identity;
  throw new RpcError("unavailable", "this instance is not a sandbox yet");
}

/** SHA-256 of text. */
export function sha256(text: string): Uint8Array {
  return new Bun.CryptoHasher("sha256").update(text).digest();
}

/** Compares in a time that depends on the lengths alone. */
export function equalBytes(left: Uint8Array, right: Uint8Array): boolean {
  let difference = left.length ^ right.length;
  for (let at = 0; at < left.length; at += 1) difference |= (left[at] ?? 0) ^ (right[at] ?? 0);
  return difference === 0;
}
