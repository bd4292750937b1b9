/** What the gateway has counted since its start. Plain numbers: read them, don't write them. */
export interface GatewayStats {
  /** Requests and upgrades taken, refused ones included. */
  readonly requests: number;
  /** Requests and upgraded connections under way now. */
  readonly active: number;
  /** Bytes of bodies and upgraded connections, client to sandbox. */
  readonly bytesUp: number;
  /** Bytes of bodies and upgraded connections, sandbox to client. */
  readonly bytesDown: number;
  /** Connections that were upgraded. */
  readonly upgrades: number;
  /** Answers broken off because the agent's broke off. */
  readonly cuts: number;
  /** Wakes begun. */
  readonly wakes: number;
  /** Answers that the gateway gave by itself, by reason. */
  readonly refused: Readonly<Record<string, number>>;
}

/** The same, for those who count. */
export interface Counters extends GatewayStats {
  requests: number;
  active: number;
  bytesUp: number;
  bytesDown: number;
  upgrades: number;
  cuts: number;
  wakes: number;
  readonly refused: Record<string, number>;
}

/** All at zero. */
export function createCounters(): Counters {
  return {
    requests: 0,
    active: 0,
    bytesUp: 0,
    bytesDown: 0,
    upgrades: 0,
    cuts: 0,
    wakes: 0,
    refused: {},
  };
}
