import { ControlPlaneError } from "@soulbox/core";
import { CODES, type Code } from "@soulbox/protocol";
import { Hono } from "hono";
import { describe, expect, it } from "vitest";
import type { ApiEnv } from "../env.ts";
import { answerE2bError } from "./errors.ts";

async function answer(error: ControlPlaneError) {
  const app = new Hono<ApiEnv>();
  app.get("/", (c) => answerE2bError(c, error));
  const response = await app.request("/");
  const json: unknown = await response.json();
  return { status: response.status, json, retryAfter: response.headers.get("retry-after") };
}

describe("answerE2bError", () => {
  it.each(Object.keys(CODES) as Code[])(
    "answers %s with code = status and nothing else",
    async (code) => {
      const { status, json } = await answer(new ControlPlaneError(code, "It is so."));

      expect(json).toEqual({ code: status, message: "It is so." });
    },
  );

  it("says 404 of what has ended, and 503 of a lost race", async () => {
    const status = async (code: Code) => (await answer(new ControlPlaneError(code, "x"))).status;

    expect(await status("sandbox_ended")).toBe(404);
    expect(await status("version_conflict")).toBe(503);
    expect(await status("state_conflict")).toBe(409);
  });

  it("gives every 503 a Retry-After, and a quota none", async () => {
    const after = async (code: Code, retryAfterMs?: number) =>
      (await answer(new ControlPlaneError(code, "x", retryAfterMs ? { retryAfterMs } : {})))
        .retryAfter;

    expect(await after("capacity_unavailable")).toBe("1");
    expect(await after("not_ready", 4500)).toBe("5");
    expect(await after("rate_limited", 2000)).toBe("2");
    expect(await after("quota_exceeded")).toBeNull();
  });

  it("ends the message with the hint", async () => {
    const { json } = await answer(new ControlPlaneError("not_found", "no 'x'", { hint: "Try y." }));

    expect(json).toMatchObject({ message: "no 'x'. Try y." });
  });
});
