import { describe, expect, it } from "vitest";
import type { Open } from "./http.contract.ts";

interface Line {
  readonly id: string;
  readonly kind: string;
  readonly amountNanoUsd: string;
  readonly billedMs?: number;
}

/** What a sandbox cost, told three ways. */
export function moneyCases(open: Open): void {
  describe("money", () => {
    it("agrees between cost, ledger and usage to the nano-dollar", async () => {
      const { world, call } = await open();
      const key = await world.key("acme");
      const { id } = (await call("POST", "/v1/sandboxes", { key })).json;
      await call("POST", `/v1/sandboxes/${id}/pause`, { key });
      await call("DELETE", `/v1/sandboxes/${id}?wait=10`, { key });

      const cost = (await call("GET", `/v1/sandboxes/${id}/cost`, { key })).json;
      const ledger = (await call("GET", "/v1/ledger", { key })).json;
      const usage = (await call("GET", "/v1/usage", { key })).json;

      const lines: Line[] = ledger.items;
      const sum = lines.reduce((total, line) => total + BigInt(line.amountNanoUsd), 0n);
      expect(lines.map((line) => line.kind).sort()).toEqual(["close", "close", "open", "open"]);
      expect(cost.entries).toHaveLength(4);
      expect(cost).toMatchObject({ amountNanoUsd: String(sum), accruedNanoUsd: "0" });
      expect(usage).toMatchObject({
        amountNanoUsd: String(sum),
        billedMs: lines.reduce((total, line) => total + (line.billedMs ?? 0), 0),
        openCount: 0,
      });
    });

    it("pages the ledger, and shows what opened with its rates as text", async () => {
      const { world, call } = await open();
      const key = await world.key("acme");
      const { id } = (await call("POST", "/v1/sandboxes", { key })).json;
      await call("DELETE", `/v1/sandboxes/${id}?wait=10`, { key });

      const path = `/v1/ledger?limit=1&sandboxId=${id}`;
      const first = (await call("GET", path, { key })).json;
      const next = encodeURIComponent(first.next);
      const rest = (await call("GET", `${path}&cursor=${next}`, { key })).json;
      const later = await call("GET", "/v1/ledger?from=2999-01-01T00:00:00Z", { key });

      const lines: Line[] = [...first.items, ...rest.items];
      expect(lines).toHaveLength(2);
      expect(lines).toContainEqual({
        id: `${id}-1-1-open`,
        sandboxId: id,
        kind: "open",
        incarnation: 1,
        interval: 1,
        at: expect.stringMatching(/Z$/),
        amountNanoUsd: "0",
        state: "running",
        resources: { cpuMilli: 1500, memoryMib: 512, diskMib: 1024 },
        place: { provider: "memory", region: "here" },
        price: {
          book: "test",
          cpuNanoUsdPerHour: "50000000",
          memoryNanoUsdPerHour: "10000000",
          diskNanoUsdPerHour: "1000000",
        },
      });
      expect(lines).toContainEqual(
        expect.objectContaining({ kind: "close", billedMs: expect.any(Number) }),
      );
      expect(rest.next).toBeNull();
      expect(later.json.items).toEqual([]);
    });

    it("counts what is open as accrued", async () => {
      const { world, call } = await open();
      const key = await world.key("acme");
      await call("POST", "/v1/sandboxes", { key });

      const usage = (await call("GET", "/v1/usage", { key })).json;

      expect(usage.openCount).toBe(1);
      expect(usage.accruedNanoUsd).toMatch(/^\d+$/);
      expect(usage.from < usage.until).toBe(true);
    });

    it("refuses one sandbox more than the tenant may have", async () => {
      const { world, call } = await open();
      const key = await world.key("acme");
      world.limit("acme", 1);
      await call("POST", "/v1/sandboxes", { key });

      const native = await call("POST", "/v1/sandboxes", { key });
      const e2b = await call("POST", "/sandboxes", { key, json: { templateID: "base" } });

      expect(native.json).toMatchObject({ status: 429, code: "quota_exceeded", retryable: false });
      expect(e2b.json).toEqual({ code: 429, message: expect.stringContaining("1 live sandbox") });
      expect(e2b.headers.get("retry-after")).toBeNull();
    });
  });
}
