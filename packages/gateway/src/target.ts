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

interface Fields {
  readonly hosts: string[];
  readonly ids: string[];
  readonly ports: string[];
  readonly lengths: string[];
  readonly encodings: string[];
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
  const label = fields.hosts.map(labelOf).find(isLabel) ?? labelOf(authority ?? "");
  const idHeader = fields.ids[0];
  if (label === undefined && idHeader === undefined) {
    return SIGNED_FILES.test(head.url) ? signedTarget(head, fields) : API;
  }

  const fault = faultOf(head, fields);
  if (fault !== undefined) return refuse(fault, label?.sandboxId);
  const headerPort = fields.ports[0];
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
  if (fields.ports.length > 0 && fields.ports[0] !== String(AGENT_PORT)) {
    return refuse("A signed file URL is always for the agent's port");
  }
  return SIGNED;
}

function readFields(rawHeaders: readonly string[]): Fields {
  const fields: Fields = { hosts: [], ids: [], ports: [], lengths: [], encodings: [] };
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const list = listOf(fields, rawHeaders[i] ?? "");
    list?.push(rawHeaders[i + 1] ?? "");
  }
  return fields;
}

/** Looks at the length first: almost every header is none of these. */
function listOf(fields: Fields, name: string): string[] | undefined {
  switch (name.length) {
    case 4:
      return name.toLowerCase() === "host" ? fields.hosts : undefined;
    case 14: {
      const lower = name.toLowerCase();
      if (lower === HEADERS.sandboxId) return fields.ids;
      return lower === "content-length" ? fields.lengths : undefined;
    }
    case 16:
      return name.toLowerCase() === HEADERS.sandboxPort ? fields.ports : undefined;
    case 17:
      return name.toLowerCase() === "transfer-encoding" ? fields.encodings : undefined;
    default:
      return undefined;
  }
}

function faultOf(head: RequestHead, fields: Fields): string | undefined {
  if (fields.hosts.length !== 1) return "There must be exactly one Host header";
  if (!HOST.test((fields.hosts[0] ?? "").toLowerCase())) return "The Host header is not a host";
  if (fields.ids.length > 1) return "The header e2b-sandbox-id is given more than once";
  if (fields.ports.length > 1) return "The header e2b-sandbox-port is given more than once";
  if (fields.lengths.length > 1) return "Content-Length is given more than once";
  if (fields.lengths.length + fields.encodings.length > 1) {
    return "Content-Length and Transfer-Encoding exclude each other";
  }
  const encoding = fields.encodings[0];
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
  const end = host.search(/[.:]/);
  const match = LABEL.exec((end === -1 ? host : host.slice(0, end)).toLowerCase());
  if (match?.[1] === undefined || match[2] === undefined) return undefined;
  return { port: match[1], sandboxId: match[2] };
}

function isLabel(label: Label | undefined): label is Label {
  return label !== undefined;
}

function isPort(text: string): boolean {
  return PORT.test(text) && Number(text) <= 65_535;
}

function refuse(message: string, sandboxId?: string): Target {
  return { kind: "refused", refusal: malformed(message, sandboxId) };
}
