/** The part of a Bun socket that an outlet and a connection need. */
export interface RawSocket {
  /** Hands bytes to the kernel; returns how many it took, or −1 when the socket is closed. */
  write(data: Uint8Array): number;
  /** Stops `data` events until {@link RawSocket.resume}. */
  pause(): void;
  /** Lets `data` events come again. */
  resume(): void;
  /** Closes after what the kernel already holds. */
  end(): void;
  /** Closes at once, without a clean end. */
  terminate(): void;
}

/** Bytes on their way out of one socket, in order, with back-pressure for whoever writes. */
export class Outlet {
  readonly #socket: RawSocket;
  #queue: Uint8Array[] = [];
  #waiters: (() => void)[] = [];
  #ending = false;
  /** True once the socket is gone; writes are then dropped. */
  closed = false;

  constructor(socket: RawSocket) {
    this.#socket = socket;
  }

  /** True while the kernel has not taken everything that was written. */
  get isBehind(): boolean {
    return this.#queue.length > 0;
  }

  /**
   * Writes bytes.
   *
   * @returns undefined when the kernel took them all, else a promise that settles when the writer
   *   may go on. It also settles when the socket closes: ask `closed` then.
   */
  write(bytes: Uint8Array): Promise<void> | undefined {
    if (this.closed || this.#ending || bytes.length === 0) return undefined;
    if (this.#queue.length > 0) {
      this.#queue.push(bytes);
      return this.drained();
    }
    const taken = Math.max(0, this.#socket.write(bytes));
    if (taken === bytes.length) return undefined;
    this.#queue.push(bytes.subarray(taken));
    return this.drained();
  }

  /** Settles when nothing waits to be written, or when the socket closes. */
  drained(): Promise<void> {
    if (this.closed || this.#queue.length === 0) return Promise.resolve();
    return new Promise((resolve) => this.#waiters.push(resolve));
  }

  /** To be called when the kernel can take more. */
  flush(): void {
    while (this.#queue.length > 0) {
      const [first] = this.#queue;
      if (first === undefined) break;
      const taken = Math.max(0, this.#socket.write(first));
      if (taken < first.length) {
        this.#queue[0] = first.subarray(taken);
        return;
      }
      this.#queue.shift();
    }
    this.#release();
    if (this.#ending) this.#socket.end();
  }

  /** Ends the socket after everything written so far. */
  end(): void {
    this.#ending = true;
    if (this.#queue.length === 0 && !this.closed) this.#socket.end();
  }

  /** To be called when the socket is gone. */
  close(): void {
    this.closed = true;
    this.#queue = [];
    this.#release();
  }

  #release(): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const resolve of waiters) resolve();
  }
}
