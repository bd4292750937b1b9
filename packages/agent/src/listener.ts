import { chmodSync, rmSync } from "node:fs";
import { Connection, type Handler } from "./http-connection.ts";
import type { Listen } from "./settings.ts";

/**
 * Answers on an address or a unix socket, whose file anybody may open (mode 0666): what protects
 * it is the directory it is in.
 *
 * @throws the system's error when the address is taken or not there.
 */
export function listen(where: Listen, handler: Handler): Bun.SocketListener<Connection> {
  const socket: Bun.SocketHandler<Connection> = {
    open(socket) {
      socket.data = new Connection(socket, handler);
    },
    data(socket, bytes) {
      socket.data.receive(bytes);
    },
    drain(socket) {
      socket.data.drain();
    },
    close(socket) {
      socket.data.close();
    },
    error(socket) {
      socket.terminate();
    },
  };
  if (where.kind === "tcp") {
    const { address: hostname, port } = where;
    return named(`${hostname}:${port}`, () => Bun.listen<Connection>({ hostname, port, socket }));
  }
  rmSync(where.path, { force: true });
  const listener = named(where.path, () => Bun.listen<Connection>({ unix: where.path, socket }));
  chmodSync(where.path, 0o666);
  return listener;
}

/** Adds to an error what it was about; Bun's own names the address in part. */
function named<Result>(address: string, open: () => Result): Result {
  try {
    return open();
  } catch (error) {
    throw new Error(`can't listen on ${address}: ${String(error)}`, { cause: error });
  }
}
