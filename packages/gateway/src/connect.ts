import { connect as connectSocket, type NetConnectOpts, type Socket } from "node:net";
import { type Pin, pinSocket } from "./pin.ts";

/** Nothing was sent: the connection itself could not be made. */
export class ConnectFailure extends Error {
  constructor(address: string, cause: unknown) {
    super(`No connection to ${address}`, { cause });
    this.name = "ConnectFailure";
  }
}

/** Takes the outcome of one connect. */
export type Connected = (error: Error | null, socket: Socket | null) => void;

/** Opens connections to one address, and knows all that are open. */
export interface Connector {
  /** Opens one more. The callback is called once, never before this returns. */
  open(callback: Connected): void;
  /** Destroys all that are open and lets go of the address; later opens fail. */
  destroy(): void;
}

/** A silent peer is found dead after this and ten probes a second apart, milliseconds. */
const KEEP_ALIVE_MS = 15_000;
/** A full queue of a unix socket says so at once: pauses before the next tries, milliseconds. */
const BACKLOG_PAUSES_MS: readonly number[] = [1, 2, 5, 10, 20, 50, 100, 200, 400];

/**
 * @param address `http://<ip>:<port>` or `unix:<path>`.
 * @param connectMsMax How long one connect may take, milliseconds.
 * @throws Error when the address has another form, or a unix socket is missing or no socket.
 */
export function createConnector(address: string, connectMsMax: number): Connector {
  const target = parseAddress(address);
  const sockets = new Set<Socket>();
  let isDestroyed = false;

  function open(callback: Connected, tries = 0): void {
    if (isDestroyed || target.pin?.isReleased === true) {
      queueMicrotask(() => callback(new ConnectFailure(address, "the route has changed"), null));
      return;
    }
    // For a unix socket the system call is made before this returns: the descriptor that a pin
    // holds can't have been closed and given to another file in between.
    const socket = connectSocket({ ...target.options, allowHalfOpen: true, noDelay: true });
    sockets.add(socket);
    const timer = setTimeout(() => socket.destroy(new Error("timeout")), connectMsMax);
    const fail = (error: Error) => {
      clearTimeout(timer);
      const pauseMs = BACKLOG_PAUSES_MS[tries];
      if ("code" in error && error.code === "EAGAIN" && pauseMs !== undefined) {
        setTimeout(() => open(callback, tries + 1), pauseMs);
      } else {
        callback(new ConnectFailure(address, error), null);
      }
    };
    socket.once("error", fail);
    socket.once("close", () => sockets.delete(socket));
    socket.once("connect", () => {
      clearTimeout(timer);
      socket.off("error", fail);
      if (target.pin === undefined) socket.setKeepAlive(true, KEEP_ALIVE_MS);
      callback(null, socket);
    });
  }

  return {
    open: (callback) => open(callback),
    destroy() {
      isDestroyed = true;
      for (const socket of sockets) socket.destroy(new Error("The route has ended"));
      target.pin?.release();
    },
  };
}

interface Place {
  readonly options: NetConnectOpts;
  readonly pin: Pin | undefined;
}

function parseAddress(address: string): Place {
  if (address.startsWith("unix:")) {
    const pin = pinSocket(address.slice("unix:".length));
    return { options: { path: pin.path }, pin };
  }
  const url = new URL(address);
  if (url.protocol !== "http:") throw new Error(`${address} is not an agent's address`);
  const host = url.hostname.replace(/^\[|\]$/g, "");
  return { options: { host, port: Number(url.port || "80") }, pin: undefined };
}
