import { equalBytes, type Identity, sha256 } from "./identity.ts";

/** What a signed file URL signs. */
export interface Signed {
  /** `path` of the query, raw; `""` when absent. */
  readonly path: string;
  readonly operation: "read" | "write";
  /** `username` of the query, raw; `""` when absent. */
  readonly user: string;
  /** Unix seconds, as they stand in the query; absent for a URL that does not expire. */
  readonly expiration: string | undefined;
}

/** Computes the signature of a file URL. Source: E2B's clients, npm package e2b 2.51.0. */
export function signFileUrl(signed: Signed, token: string): string {
  const parts = [signed.path, signed.operation, signed.user, token];
  if (signed.expiration !== undefined) parts.push(signed.expiration);
  const digest = Buffer.from(sha256(parts.join(":"))).toString("base64");
  return `v1_${digest.replaceAll("=", "")}`;
}

/** A request for a file, as far as its right to it goes. */
export interface FileRequest {
  /** Value of `x-access-token`. */
  readonly token: string | undefined;
  readonly parameters: URLSearchParams;
  readonly operation: "read" | "write";
  /** Unix seconds. */
  readonly nowSeconds: number;
}

/** Says why a request for a file is refused with 401, or undefined when it may go on. */
export function refuseFileRequest(identity: Identity, request: FileRequest): string | undefined {
  const { claims } = identity;
  if (claims.accessToken === null) return undefined;
  if (request.token !== undefined) {
    return identity.accepts(request.token) ? undefined : "the access token is not valid";
  }
  const { parameters, operation } = request;
  const signature = parameters.get("signature");
  if (signature === null) return "missing signature query parameter";
  const expiration = parameters.get("signature_expiration") ?? undefined;
  const path = parameters.get("path") ?? "";
  const user = parameters.get("username") ?? "";
  const expected = signFileUrl({ path, operation, user, expiration }, claims.accessToken);
  if (!equalBytes(sha256(signature), sha256(expected))) return "invalid signature";
  if (expiration !== undefined && !(Number(expiration) >= request.nowSeconds)) {
    return "signature is already expired";
  }
  return undefined;
}
