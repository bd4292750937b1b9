import { describe, expect, it } from "vitest";
import type { Open } from "./http.contract.ts";

/** What the API tells about itself. */
export function catalogueCases(open: Open): void {
  describe("catalogue", () => {
    it("lists providers with what they don't enforce, and templates", async () => {
      const { world, call } = await open();
      const key = await world.key("acme", ["billing"]);

      const providers = await call("GET", "/v1/providers", { key });
      const templates = await call("GET", "/v1/templates", { key });

      expect(providers.json.items[0]).toMatchObject({
        name: "memory",
        isolation: "none",
        canPause: true,
        gaps: [expect.any(String)],
      });
      expect(templates.json.items[1]).toMatchObject({ id: "node-22", names: ["node:22", "node"] });
    });

    it("answers machines without a key", async () => {
      const { call } = await open();

      expect((await call("GET", "/health")).json).toEqual({ status: "ok" });
      expect((await call("GET", "/metrics")).text).toBe("soulbox_up 1\n");
      expect((await call("GET", "/")).json).toMatchObject({ document: "/openapi.json" });
    });

    it("documents every route with its scope and answers", async () => {
      const { call } = await open();

      const { json } = await call("GET", "/openapi.json");

      expect(json.openapi).toBe("3.1.0");
      expect(Object.keys(json.paths)).toHaveLength(16);
      expect(json.components.schemas.Sandbox.properties.state.enum).toContain("pausing");
      expect(JSON.stringify(json)).not.toContain('"env":{"type":"object"},"secret"');
    });
  });
}
