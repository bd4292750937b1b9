import type { Ports } from "@soulbox/core";
import type { Gateway } from "@soulbox/gateway";
import { collectDefaultMetrics, Gauge, Registry } from "prom-client";

/** Metrics in Prometheus' text format, counted when they are asked for. No ids as labels. */
export function createMetrics(ports: Ports, gateway: Gateway): () => Promise<string> {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  new Gauge({
    name: "soulbox_sandboxes_live",
    help: "Live sandboxes of all tenants, paused ones included.",
    registers: [registry],
    async collect() {
      let live = 0;
      for (const [name, count] of await ports.store.counters()) {
        if (name.startsWith("live:")) live += count;
      }
      this.set(live);
    },
  });
  new Gauge({
    name: "soulbox_gateway_requests_total",
    help: "Requests and upgrades that the gateway took.",
    registers: [registry],
    collect() {
      this.set(gateway.stats.requests);
    },
  });
  new Gauge({
    name: "soulbox_gateway_requests_active",
    help: "Requests and upgrades under way.",
    registers: [registry],
    collect() {
      this.set(gateway.stats.active);
    },
  });
  return () => registry.metrics();
}
