import { setTimeout as delay } from "node:timers/promises";
import { SandboxView } from "@soulbox/protocol";
import { type Client, SMALL } from "./client.ts";

/** What one client remembers of a create: it asks again with the same key until it is answered. */
export interface Order {
  readonly idempotencyKey: string;
  /** Known since the server acknowledged it. */
  id: string | undefined;
  /** `asked` as soon as the request to end it is on its way, `acknowledged` when it was answered. */
  end: "no" | "asked" | "acknowledged";
}

/** Live sandboxes that one client keeps. */
const LIVE_MAX = 2;
/** Outlives the test. */
const LIFETIME_MS = 900_000;

/** What a create of the load asks for. */
export const ORDER_BODY = { resources: { ...SMALL, memoryMib: 64 }, lifetimeMs: LIFETIME_MS };

/**
 * One client's work until the server goes away: it creates, runs commands and ends sandboxes, and
 * writes down what was promised to it. Begins with what an earlier server left unanswered.
 *
 * @throws Error when the server answers what it must not.
 */
export async function work(
  client: Client,
  name: string,
  orders: Order[],
  signal: AbortSignal,
): Promise<void> {
  try {
    for (const order of orders.filter(({ id }) => id === undefined)) await place(client, order);
    while (!signal.aborted) {
      const live = orders.filter(({ end }) => end === "no");
      if (live.length < LIVE_MAX) {
        const idempotencyKey = `${name}-${orders.length}`;
        const order: Order = { idempotencyKey, id: undefined, end: "no" };
        orders.push(order);
        await place(client, order);
      }
      const [oldest] = live;
      if (oldest?.id !== undefined) {
        await use(client, oldest.id);
        oldest.end = "asked";
        await endOf(client, oldest.id);
        oldest.end = "acknowledged";
      }
      await delay(20);
    }
  } catch (error) {
    // The connection broke with the server: what was in flight stays unknown.
    if (!(error instanceof TypeError)) throw error;
  }
}

/** Places an order, and notes the id that is promised. */
export async function place(client: Client, order: Order): Promise<void> {
  const { idempotencyKey } = order;
  const answer = await client.create({ idempotencyKey, body: ORDER_BODY });
  if (answer.status !== 201 && answer.status !== 202) {
    throw new Error(
      `The create ${idempotencyKey} answers ${answer.status}: ${JSON.stringify(answer.body)}`,
    );
  }
  order.id = SandboxView.parse(answer.body).id;
}

async function use(client: Client, id: string): Promise<void> {
  const answer = await client.call("POST", `/v1/sandboxes/${id}/exec`, {
    command: "echo $((6*7))",
  });
  const { stdout } = Object(answer.body);
  // 409: its launch, acknowledged with 202 or before a kill, is still under way.
  if (answer.status === 409 || (answer.status === 200 && stdout === "42\n")) return;
  throw new Error(`The command in ${id} answers ${answer.status}: ${JSON.stringify(answer.body)}`);
}

async function endOf(client: Client, id: string): Promise<void> {
  const answer = await client.call("DELETE", `/v1/sandboxes/${id}`);
  if (answer.status >= 300) {
    throw new Error(`The end of ${id} answers ${answer.status}: ${JSON.stringify(answer.body)}`);
  }
}
