import { type Framing, HttpFault } from "./http-head.ts";

const CHUNK_LINE_BYTES_MAX = 4096;
const TRAILER_BYTES_MAX = 16 * 1024;

/** What came out of {@link BodyDecoder.push}. */
export interface Decoded {
  /** Body bytes, in order; views into what was pushed. */
  readonly data: Uint8Array[];
  /** Bytes after what was understood; to be pushed again with what follows, or the next request. */
  readonly rest: Buffer;
}

/** Takes the bytes of one request body off a connection, whatever the pieces they come in. */
export class BodyDecoder {
  readonly #chunked: boolean;
  /** Bytes left of the whole body, or of the current chunk. */
  #left: number;
  #state: "size" | "data" | "gap" | "trailer";
  #trailerBytes = 0;
  /** True when the whole body was taken. */
  done: boolean;

  constructor(framing: Framing) {
    this.#chunked = framing.kind === "chunked";
    this.#left = framing.kind === "length" ? framing.bytes : 0;
    this.#state = this.#chunked ? "size" : "data";
    this.done = !this.#chunked && this.#left === 0;
  }

  /**
   * Takes bytes.
   *
   * @throws HttpFault 400 when chunks are not framed as RFC 9112 says.
   */
  push(input: Buffer): Decoded {
    const data: Uint8Array[] = [];
    let at = 0;
    while (!this.done && at < input.length) {
      if (this.#state === "data") {
        const taken = Math.min(this.#left, input.length - at);
        data.push(input.subarray(at, at + taken));
        at += taken;
        this.#left -= taken;
        if (this.#left > 0) break;
        if (this.#chunked) this.#state = "gap";
        else this.done = true;
        continue;
      }
      const next = this.#line(input, at);
      if (next < 0) break;
      at = next;
    }
    return { data, rest: at === 0 ? input : input.subarray(at) };
  }

  /** Consumes one line of framing; returns the index after it, or −1 when it is incomplete. */
  #line(input: Buffer, at: number): number {
    const end = input.indexOf("\r\n", at);
    if (end < 0) {
      if (input.length - at > CHUNK_LINE_BYTES_MAX) throw new HttpFault(400, "chunk line too long");
      return -1;
    }
    const line = input.toString("latin1", at, end);
    if (this.#state === "gap") {
      if (line !== "") throw new HttpFault(400, "chunk longer than its size");
      this.#state = "size";
    } else if (this.#state === "size") {
      this.#startChunk(line);
    } else if (line === "") {
      this.done = true;
    } else {
      this.#trailerBytes += line.length;
      if (this.#trailerBytes > TRAILER_BYTES_MAX) throw new HttpFault(400, "trailers too long");
    }
    return end + 2;
  }

  #startChunk(line: string): void {
    const size = /^([0-9A-Fa-f]{1,12})[ \t]*(;.*)?$/.exec(line)?.[1];
    if (size === undefined) {
      throw new HttpFault(400, `chunk size ${JSON.stringify(line.slice(0, 40))}`);
    }
    this.#left = Number.parseInt(size, 16);
    this.#state = this.#left === 0 ? "trailer" : "data";
  }
}

/** The body of one request, read by its handler piece by piece. */
export class RequestBody {
  readonly #pause: (paused: boolean) => void;
  #pieces: Uint8Array[] = [];
  #bytes = 0;
  #wake: (() => void) | undefined;
  #ended = false;
  #broken = false;
  #discarding = false;
  /** Called once, before the handler first waits: sends `100 Continue` when that was asked for. */
  onWait: (() => void) | undefined;

  /**
   * @param pause Told true when more than 256 KiB wait to be read, and false when they are read:
   *   what keeps a fast sender from filling the memory.
   */
  constructor(pause: (paused: boolean) => void) {
    this.#pause = pause;
  }

  /** Adds received bytes. */
  add(piece: Uint8Array): void {
    if (this.#discarding || piece.length === 0) return;
    this.#pieces.push(piece);
    this.#bytes += piece.length;
    if (this.#bytes > 256 * 1024) this.#pause(true);
    this.#stir();
  }

  /** Marks the end: no more bytes will be added. */
  end(): void {
    this.#ended = true;
    this.#stir();
  }

  /** Marks the body as cut: its connection is gone or its framing is wrong. */
  break(): void {
    if (this.#ended) return;
    this.#broken = true;
    this.#stir();
  }

  /** Drops what is unread and everything that follows. */
  discard(): void {
    this.#discarding = true;
    this.#pieces = [];
    this.#bytes = 0;
    this.#pause(false);
  }

  /**
   * Next piece, or undefined at the end.
   *
   * @throws HttpFault 400 when the body was cut.
   */
  async read(): Promise<Uint8Array | undefined> {
    for (;;) {
      const piece = this.#pieces.shift();
      if (piece !== undefined) {
        this.#bytes -= piece.length;
        if (this.#pieces.length === 0) this.#pause(false);
        return piece;
      }
      if (this.#broken) throw new HttpFault(400, "the request body was cut");
      if (this.#ended) return undefined;
      this.onWait?.();
      this.onWait = undefined;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /**
   * Whole body.
   *
   * @returns undefined when it is longer than `bytesMax`.
   * @throws HttpFault 400 when the body was cut.
   */
  async readAll(bytesMax: number): Promise<Buffer | undefined> {
    const pieces: Uint8Array[] = [];
    let bytes = 0;
    for (let piece = await this.read(); piece !== undefined; piece = await this.read()) {
      bytes += piece.length;
      if (bytes > bytesMax) return undefined;
      pieces.push(piece);
    }
    return Buffer.concat(pieces);
  }

  #stir(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }
}
