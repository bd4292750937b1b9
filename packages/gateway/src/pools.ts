import { Agent, type ClientRequestArgs } from "node:http";
import type { Duplex } from "node:stream";
import { Pool } from "undici";
import { ConnectFailure, type Connector, createConnector } from "./connect.ts";

/** Where one launch of a sandbox answers, as far as pools care. */
export interface Endpoint {
  readonly launchId: string;
  /** `http://<ip>:<port>` or `unix:<path>`. */
  readonly address: string;
}

/** The connections to one launch of one sandbox. */
export interface Upstream extends Endpoint {
  /** For requests without a body: the fast way. */
  readonly pool: Pool;
  /** For requests with a body, which `pool` can neither start early nor end with trailers. */
  readonly agent: Agent;
  /** For upgrades: one connection, not shared. */
  readonly connector: Connector;
}

/** A place among the requests of one sandbox; held from its route to the end of its answer. */
export interface Lease {
  readonly upstream: Upstream;
  /** Gives the place back. Harmless when repeated. */
  release(): void;
  /** Says that the upstream can't be connected to; the next request makes another. */
  discard(): void;
}

/** All upstreams, bounded in number. */
export interface Pools {
  /**
   * Takes a place. A route that differs from the last one retires the old connections: what runs
   * on them ends by itself.
   *
   * @returns `limit` when the sandbox has its most requests under way, `full` when there are too
   *   many sandboxes with requests under way.
   * @throws ConnectFailure when the address is none, or its socket is missing or no socket.
   */
  acquire(sandboxId: string, endpoint: Endpoint): Lease | "limit" | "full";
  /** Destroys every connection of a sandbox, and so every stream over them. */
  cut(sandboxId: string): void;
  /** Destroys everything. */
  destroy(): void;
  /** How many upstreams there are. */
  readonly size: number;
}

/** Bounds of the pools. */
export interface PoolLimits {
  /** Requests under way per sandbox. */
  readonly requestCountMax: number;
  /** Sandboxes with connections. */
  readonly upstreamCountMax: number;
  /** Connections of a sandbox are kept this long after its last request, milliseconds. */
  readonly idleMs: number;
  /** One connect takes at most this long, milliseconds. */
  readonly connectMsMax: number;
}

/** Idle connections are given up before the agent would close them, milliseconds. */
const KEEP_ALIVE_MS = 4_000;

interface Entry extends Upstream {
  active: number;
  idleSinceMs: number;
  isRetired: boolean;
}

/** @param nowMs The time, milliseconds; any origin. */
export function createPools(limits: PoolLimits, nowMs: () => number): Pools {
  const entries = new Map<string, Entry>();
  /** Retired, but with requests under way: still to be found by `cut` and `destroy`. */
  const retired = new Map<Entry, string>();
  const sweeper = setInterval(sweep, Math.max(1_000, limits.idleMs / 4));
  sweeper.unref();

  function sweep(): void {
    const oldestMs = nowMs() - limits.idleMs;
    for (const [sandboxId, entry] of entries) {
      if (entry.active === 0 && entry.idleSinceMs <= oldestMs) retire(sandboxId, entry);
    }
  }

  function retire(sandboxId: string, entry: Entry): void {
    if (entries.get(sandboxId) === entry) entries.delete(sandboxId);
    if (entry.isRetired) return;
    entry.isRetired = true;
    if (entry.active === 0) close(entry);
    else retired.set(entry, sandboxId);
  }

  function onIdle(entry: Entry): void {
    entry.idleSinceMs = nowMs();
    if (!entry.isRetired) return;
    retired.delete(entry);
    close(entry);
  }

  function makeRoom(): boolean {
    let oldest: [string, Entry] | undefined;
    for (const [sandboxId, entry] of entries) {
      if (entry.active > 0) continue;
      if (oldest === undefined || entry.idleSinceMs < oldest[1].idleSinceMs) {
        oldest = [sandboxId, entry];
      }
    }
    if (oldest === undefined) return false;
    retire(...oldest);
    return true;
  }

  return {
    acquire(sandboxId, endpoint) {
      let entry = entries.get(sandboxId);
      if (
        entry !== undefined &&
        (entry.launchId !== endpoint.launchId || entry.address !== endpoint.address)
      ) {
        retire(sandboxId, entry);
        entry = undefined;
      }
      if (entry === undefined) {
        if (entries.size + retired.size >= limits.upstreamCountMax && !makeRoom()) return "full";
        entry = openEntry(endpoint, limits.connectMsMax);
        entries.set(sandboxId, entry);
      }
      if (entry.active >= limits.requestCountMax) return "limit";
      entry.active += 1;
      return new Held(sandboxId, entry, retire, onIdle);
    },
    cut(sandboxId) {
      const entry = entries.get(sandboxId);
      if (entry !== undefined) {
        retire(sandboxId, entry);
        close(entry);
      }
      for (const [old, owner] of retired) if (owner === sandboxId) close(old);
    },
    destroy() {
      clearInterval(sweeper);
      for (const [sandboxId, entry] of entries) {
        retire(sandboxId, entry);
        close(entry);
      }
      for (const entry of retired.keys()) close(entry);
    },
    get size() {
      return entries.size + retired.size;
    },
  };
}

/** A lease: a class, because there is one per request. */
class Held implements Lease {
  readonly upstream: Entry;
  readonly #sandboxId: string;
  readonly #retire: (sandboxId: string, entry: Entry) => void;
  readonly #onIdle: (entry: Entry) => void;
  #isHeld = true;

  constructor(
    sandboxId: string,
    entry: Entry,
    retire: (sandboxId: string, entry: Entry) => void,
    onIdle: (entry: Entry) => void,
  ) {
    this.#sandboxId = sandboxId;
    this.upstream = entry;
    this.#retire = retire;
    this.#onIdle = onIdle;
  }

  release(): void {
    if (!this.#isHeld) return;
    this.#isHeld = false;
    this.upstream.active -= 1;
    if (this.upstream.active === 0) this.#onIdle(this.upstream);
  }

  discard(): void {
    this.#retire(this.#sandboxId, this.upstream);
  }
}

function openEntry(endpoint: Endpoint, connectMsMax: number): Entry {
  let connector: Connector;
  try {
    connector = createConnector(endpoint.address, connectMsMax);
  } catch (error) {
    throw new ConnectFailure(endpoint.address, error);
  }
  return {
    launchId: endpoint.launchId,
    address: endpoint.address,
    connector,
    pool: new Pool("http://agent", {
      // One request per connection at a time, as many connections as requests: a stream may run
      // for hours, and nothing may wait behind it.
      connections: null,
      pipelining: 1,
      headersTimeout: 0,
      bodyTimeout: 0,
      keepAliveTimeout: KEEP_ALIVE_MS,
      keepAliveMaxTimeout: KEEP_ALIVE_MS,
      connect: (_options, callback) =>
        connector.open((error, socket) => {
          if (socket === null) callback(error ?? new Error("No socket"), null);
          else callback(null, socket);
        }),
    }),
    agent: new ConnectorAgent(connector),
    active: 0,
    idleSinceMs: 0,
    isRetired: false,
  };
}

function close(entry: Entry): void {
  entry.connector.destroy();
  entry.agent.destroy();
  entry.pool.destroy(new Error("The route has ended"), () => undefined);
}

/** Node's own pool over our connector. */
class ConnectorAgent extends Agent {
  readonly #connector: Connector;

  constructor(connector: Connector) {
    super({ keepAlive: true, timeout: KEEP_ALIVE_MS, maxFreeSockets: 64, scheduling: "lifo" });
    this.#connector = connector;
  }

  override createConnection(
    _options: ClientRequestArgs,
    callback?: (error: Error | null, stream: Duplex) => void,
  ): Duplex | null | undefined {
    this.#connector.open((error, socket) => {
      // Node's own callback takes an error alone; its type does not say so.
      if (socket === null) (callback as ((error: Error | null) => void) | undefined)?.(error);
      else callback?.(null, socket);
    });
    return undefined;
  }
}
