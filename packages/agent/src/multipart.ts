/** What a multipart body is made of, in the order it comes. */
export type PartEvent =
  | { readonly kind: "part"; readonly name: string; readonly filename: string | undefined }
  | { readonly kind: "data"; readonly bytes: Uint8Array }
  | { readonly kind: "end" };

/** A body that is not multipart as RFC 7578 says. */
export class MultipartFault extends Error {}

const PART_HEAD_BYTES_MAX = 32 * 1024;

/** Boundary named by a content type, or undefined. */
export function boundaryOf(contentType: string): string | undefined {
  const match = /;\s*boundary=(?:"([^"]{1,200})"|([^\s;"]{1,200}))/i.exec(contentType);
  return match?.[1] ?? match?.[2];
}

/**
 * Takes a multipart body apart without holding more of it than one piece and a boundary.
 */
export class MultipartParser {
  readonly #delimiter: Buffer;
  // The first boundary has no line break before it; this one stands in.
  #input: Buffer = Buffer.from("\r\n");
  #state: "preamble" | "boundary" | "head" | "data" | "over" = "preamble";

  constructor(boundary: string) {
    this.#delimiter = Buffer.from(`\r\n--${boundary}`);
  }

  /** True once the closing boundary was seen. */
  get isOver(): boolean {
    return this.#state === "over";
  }

  /** Takes bytes. @throws MultipartFault. */
  push(bytes: Uint8Array): PartEvent[] {
    if (this.#state === "over") return [];
    this.#input =
      this.#input.length === 0 ? Buffer.from(bytes) : Buffer.concat([this.#input, bytes]);
    const events: PartEvent[] = [];
    while (this.#step(events));
    return events;
  }

  /** Returns false when more bytes are needed. */
  #step(events: PartEvent[]): boolean {
    switch (this.#state) {
      case "preamble":
      case "data":
        return this.#readData(events);
      case "boundary":
        return this.#readBoundary();
      case "head":
        return this.#readHead(events);
      case "over":
        return false;
    }
  }

  #readData(events: PartEvent[]): boolean {
    const isPart = this.#state === "data";
    const at = this.#input.indexOf(this.#delimiter);
    // Without a boundary in sight, all but what could be its beginning is data.
    const kept = at < 0 ? this.#beginningOfDelimiter() : at;
    if (isPart && kept > 0) events.push({ kind: "data", bytes: this.#input.subarray(0, kept) });
    this.#input = this.#input.subarray(at < 0 ? kept : at + this.#delimiter.length);
    if (at < 0) return false;
    if (isPart) events.push({ kind: "end" });
    this.#state = "boundary";
    return true;
  }

  /** Index from which the input could be the beginning of a delimiter. */
  #beginningOfDelimiter(): number {
    const from = Math.max(0, this.#input.length - this.#delimiter.length + 1);
    for (let at = this.#input.indexOf(13, from); at >= 0; at = this.#input.indexOf(13, at + 1)) {
      const tail = this.#input.subarray(at);
      if (tail.equals(this.#delimiter.subarray(0, tail.length))) return at;
    }
    return this.#input.length;
  }

  #readBoundary(): boolean {
    if (this.#input.length < 2) return false;
    if (this.#input[0] === 45 && this.#input[1] === 45) {
      this.#state = "over";
      this.#input = Buffer.alloc(0);
      return false;
    }
    const end = this.#input.indexOf("\r\n");
    if (end < 0 && this.#input.length < 1024) return false;
    if (end < 0 || this.#input.toString("latin1", 0, end).trim() !== "") {
      throw new MultipartFault("text after a boundary");
    }
    // The line break stays: a part without header lines has only the blank line.
    this.#input = this.#input.subarray(end);
    this.#state = "head";
    return true;
  }

  #readHead(events: PartEvent[]): boolean {
    const end = this.#input.indexOf("\r\n\r\n");
    if (end < 0) {
      if (this.#input.length <= PART_HEAD_BYTES_MAX) return false;
      throw new MultipartFault(`a part's head is longer than ${PART_HEAD_BYTES_MAX} bytes`);
    }
    const lines = this.#input.toString("utf8", 0, end).split("\r\n");
    this.#input = this.#input.subarray(end + 4);
    const line = lines.find((text) => /^content-disposition\s*:/i.test(text)) ?? "";
    const name = parameterOf(line, "name") ?? "";
    const filename = parameterOf(line, "filename");
    this.#state = "data";
    events.push({ kind: "part", name, filename });
    return true;
  }
}

/** Parameter of a Content-Disposition line, with the escapes that browsers and undici write. */
function parameterOf(line: string, name: string): string | undefined {
  const extended = new RegExp(`;\\s*${name}\\*=utf-8''([^;\\s]*)`, "i").exec(line)?.[1];
  if (extended !== undefined) return decode(extended);
  const match = new RegExp(`;\\s*${name}=(?:"((?:[^"\\\\]|\\\\.)*)"|([^\\s;"]*))`, "i").exec(line);
  const quoted = match?.[1];
  if (quoted === undefined) return match?.[2];
  return quoted
    .replace(/\\(["\\])/g, "$1")
    .replaceAll("%22", '"')
    .replaceAll("%0D", "\r")
    .replaceAll("%0A", "\n");
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new MultipartFault(`the name ${JSON.stringify(text)} is not percent-encoded`);
  }
}
