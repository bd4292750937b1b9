/** Longest request or response head, bytes. Paths of 4 KiB, percent-encoded, fit in it. */
export const HEAD_BYTES_MAX = 64 * 1024;

/** A request that is not HTTP/1.1 as RFC 9112 allows it; answered with `status`, then closed. */
export class HttpFault extends Error {
  /** HTTP status of the answer. */
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** A header field: its name as sent, and its value without surrounding blanks. */
export type Field = readonly [name: string, value: string];

/** A parsed request head. */
export interface Head {
  readonly method: string;
  /** Request target as sent, percent-encoded. */
  readonly target: string;
  readonly version: "1.0" | "1.1";
  /** All fields in order. */
  readonly fields: readonly Field[];
}

/** How the body of a request is delimited. */
export type Framing = { readonly kind: "length"; readonly bytes: number } | { kind: "chunked" };

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const REQUEST_LINE = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([\x21-\x7e\x80-\xff]+) HTTP\/1\.([01])$/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is refused
const CONTROL = /[\x00-\x08\x0a-\x1f\x7f]/;

/** Index just after the blank line that ends a head, or −1 when it has not arrived. */
export function findHeadEnd(bytes: Buffer): number {
  const at = bytes.indexOf("\r\n\r\n");
  return at < 0 ? -1 : at + 4;
}

/**
 * Parses header lines.
 *
 * @param lines Text after the first line, without the closing blank line.
 * @throws HttpFault 400 for a line that is no field: folding, blanks in names, control characters.
 */
export function parseFields(lines: readonly string[]): Field[] {
  return lines.map((line): Field => {
    const colon = line.indexOf(":");
    const name = line.slice(0, Math.max(0, colon));
    const value = line.slice(colon + 1).trim();
    if (!TOKEN.test(name) || CONTROL.test(value)) {
      throw new HttpFault(400, `not a header field: ${JSON.stringify(line.slice(0, 100))}`);
    }
    return [name, value];
  });
}

/**
 * Parses a request head.
 *
 * @param text Everything up to and including the blank line, decoded as Latin-1.
 * @throws HttpFault 400 when it is not HTTP/1.0 or 1.1.
 */
export function parseHead(text: string): Head {
  const lines = text.slice(0, -4).split("\r\n");
  const first = REQUEST_LINE.exec(lines[0] ?? "");
  if (first === null) {
    throw new HttpFault(
      400,
      `not a request line: ${JSON.stringify((lines[0] ?? "").slice(0, 100))}`,
    );
  }
  const [, method = "", target = "", minor] = first;
  const version = minor === "0" ? "1.0" : "1.1";
  return { method, target, version, fields: parseFields(lines.slice(1)) };
}

/** Value of a field, or undefined; repeated fields are joined by commas. Names in lower case. */
export function fieldValue(fields: readonly Field[], name: string): string | undefined {
  let found: string | undefined;
  for (const [key, value] of fields) {
    if (key.length !== name.length || key.toLowerCase() !== name) continue;
    found = found === undefined ? value : `${found}, ${value}`;
  }
  return found;
}

/**
 * Tells where the body of a request ends.
 *
 * @throws HttpFault 400 when length and chunking contradict each other, so that this program and
 *   whatever stands before it can't disagree on where a request ends; 501 for another coding.
 */
export function requestFraming(head: Head): Framing {
  const coding = fieldValue(head.fields, "transfer-encoding");
  const length = fieldValue(head.fields, "content-length");
  if (coding !== undefined) {
    if (length !== undefined) throw new HttpFault(400, "both transfer-encoding and content-length");
    if (coding.toLowerCase() !== "chunked") {
      throw new HttpFault(501, `transfer-encoding ${JSON.stringify(coding)}`);
    }
    return { kind: "chunked" };
  }
  if (length === undefined) return { kind: "length", bytes: 0 };
  const bytes = Number(length);
  if (!/^\d{1,15}$/.test(length)) {
    throw new HttpFault(400, `content-length ${JSON.stringify(length.slice(0, 40))}`);
  }
  return { kind: "length", bytes };
}
