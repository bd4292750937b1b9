import { AGENT_PORT, HEADERS } from "@soulbox/protocol";
import { malformed, notFound, type Refusal } from "./answers.ts";

/** The part of a request that tells whom it is for. */
export interface RequestHead {
  readonly method: string;
  /** Request target as it stood on the wire. */
  readonly url: string;
  /** Names and values in turn, as on the wire: duplicates are visible only here. */
  readonly rawHeaders: readonly string[];
}

/** Whom a request is for. */
export type Target =
  /** Not for a sandbox. */
  | { readonly kind: "api" }
  | { readonly kind: "sandbox"; readonly sandboxId: string; readonly port: number }
  /** A signed file URL that does not name its sandbox. */
  | { readonly kind: "signed" }
  | { readonly kind: "refused"; readonly refusal: Refusal };

const API: Target = { kind: "api" };
const SIGNED: Target = { kind: "signed" };

const SANDBOX_ID = /^[a-z][a-z0-9]{19,31}$/;
/** What may have been meant as an id, E2B's old `<id>-<client>` among it: names nothing here. */
const ID_LIKE = /^[A-Za-z0-9_-]{1,64}$/;
/** First label of a host name that means a port of a sandbox. Source: E2B's proxy. */
const LABEL = /^(\d+)-([a-z][a-z0-9]{19,31})$/;
const HOST = /^(?:\[[0-9a-f:.]+\]|[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?)(?::\d{1,5})?$/;
const PORT = /^[1-9]\d{0,4}$/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
const CONTROL = /[\u0000-\u0020\u007f]/;
const SIGNED_FILES = /^\/files\?(?:.*&)?signature=/;
const ABSOLUTE = /^[a-z][a-z0-9+.-]*:\/\/([^/?#]*)/i;

/** The headers that decide, and how often each is given. */
interface Fields {
  host: string | undefined;
  hosts: number;
  /** The first host that names a sandbox. */
  label: Label | undefined;
  id: string | undefined;
  ids: number;
  port: string | undefined;
  ports: number;
  lengths: number;
  encoding: string | undefined;
  encodings: number;
}

/**
 * Decides whom a request is for. Pure.
 *
 * 1. A host name `<port>-<id>.<domain>` wins over everything.
 * 2. Else the header `e2b-sandbox-id` names the sandbox, on any host: control plane and gateway may
 *    share any name. The port is `e2b-sandbox-port`, by default the agent's.
 * 3. Else `/files?…signature=…` is a signed file URL, whose sandbox must be found by its signature.
 * 4. Everything else belongs to the API.
 *
 * Host name and headers that contradict each other are refused, and so is every form of request
 * that two parsers could read differently, but only in requests that are for a sandbox.
 */
export function targetOf(head: RequestHead): Target {
  const fields = readFields(head.rawHeaders);
  const authority = head.url.startsWith("/") ? undefined : ABSOLUTE.exec(head.url)?.[1];
  const label = fields.label ?? (authority === undefined ? undefined : labelOf(authority));
  const idHeader = fields.id;
  if (label === undefined && idHeader === undefined) {
    return SIGNED_FILES.test(head.url) ? signedTarget(head, fields) : API;
  }

  const fault = faultOf(head, fields);
  if (fault !== undefined) return refuse(fault, label?.sandboxId);
  const headerPort = fields.port;
  if (headerPort !== undefined && !isPort(headerPort)) {
    return refuse("The header e2b-sandbox-port must be a port from 1 to 65535", label?.sandboxId);
  }
  if (label === undefined) return headerTarget(idHeader ?? "", headerPort);
  if (!isPort(label.port)) {
    return refuse("The host name must begin with a port from 1 to 65535", label.sandboxId);
  }
  if (idHeader !== undefined && idHeader !== label.sandboxId) {
    return refuse("The host name and the header e2b-sandbox-id name different sandboxes");
  }
  if (headerPort !== undefined && headerPort !== label.port) {
    return refuse(
      "The host name and the header e2b-sandbox-port name different ports",
      label.sandboxId,
    );
  }
  return { kind: "sandbox", sandboxId: label.sandboxId, port: Number(label.port) };
}

function headerTarget(sandboxId: string, port: string | undefined): Target {
  if (SANDBOX_ID.test(sandboxId)) {
    return { kind: "sandbox", sandboxId, port: port === undefined ? AGENT_PORT : Number(port) };
  }
  if (ID_LIKE.test(sandboxId)) return { kind: "refused", refusal: notFound(sandboxId) };
  return refuse("The header e2b-sandbox-id is not a sandbox id");
}

function signedTarget(head: RequestHead, fields: Fields): Target {
  const fault = faultOf(head, fields);
  if (fault !== undefined) return refuse(fault);
  if (fields.port !== undefined && fields.port !== String(AGENT_PORT)) {
    return refuse("A signed file URL is always for the agent's port");
  }
  return SIGNED;
}

function readFields(rawHeaders: readonly string[]): Fields {
  const fields: Fields = {
    host: undefined,
    hosts: 0,
    label: undefined,
    id: undefined,
    ids: 0,
    port: undefined,
    ports: 0,
    lengths: 0,
    encoding: undefined,
    encodings: 0,
  };
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    take(fields, rawHeaders[i] ?? "", rawHeaders[i + 1] ?? "");
  }
  return fields;
}

/** Looks at the length of a name first: almost every header is none of these. */
function take(fields: Fields, name: string, value: string): void {
  switch (name.length) {
    case 4:
      if (name.toLowerCase() !== "host") return;
      fields.hosts += 1;
      fields.host ??= value;
      fields.label ??= labelOf(value);
      return;
    case 14: {
      const lower = name.toLowerCase();
      if (lower === HEADERS.sandboxId) {
        fields.ids += 1;
        fields.id ??= value;
      } else if (lower === "content-length") fields.lengths += 1;
      return;
    }
    case 16:
      if (name.toLowerCase() !== HEADERS.sandboxPort) return;
      fields.ports += 1;
      fields.port ??= value;
      return;
    case 17:
      if (name.toLowerCase() !== "transfer-encoding") return;
      fields.encodings += 1;
      fields.encoding ??= value;
      return;
  }
}

function faultOf(head: RequestHead, fields: Fields): string | undefined {
  if (fields.hosts !== 1) return "There must be exactly one Host header";
  if (!HOST.test((fields.host ?? "").toLowerCase())) return "The Host header is not a host";
  if (fields.ids > 1) return "The header e2b-sandbox-id is given more than once";
  if (fields.ports > 1) return "The header e2b-sandbox-port is given more than once";
  if (fields.lengths > 1) return "Content-Length is given more than once";
  if (fields.lengths + fields.encodings > 1) {
    return "Content-Length and Transfer-Encoding exclude each other";
  }
  const { encoding } = fields;
  if (encoding !== undefined && encoding.toLowerCase() !== "chunked") {
    return "The only Transfer-Encoding is chunked";
  }
  if (!head.url.startsWith("/")) return "The request target must be a path";
  if (CONTROL.test(head.url)) return "The request target holds control characters";
  return undefined;
}

interface Label {
  readonly port: string;
  readonly sandboxId: string;
}

function labelOf(host: string): Label | undefined {
  const first = host.charCodeAt(0);
  if (first < 0x30 || first > 0x39) return undefined;
  const end = host.search(/[.:]/);
  const match = LABEL.exec((end === -1 ? host : host.slice(0, end)).toLowerCase());
  if (match?.[1] === undefined || match[2] === undefined) return undefined;
  return { port: match[1], sandboxId: match[2] };
}

function isPort(text: string): boolean {
  return PORT.test(text) && Number(text) <= 65_535;
}

function refuse(message: string, sandboxId?: string): Target {
  return { kind: "refused", refusal: malformed(message, sandboxId) };
}
