import { ControlPlaneError } from "@soulbox/core";
import { CODES, type Code, Problem } from "@soulbox/protocol";
import { Hono } from "hono";
import { describe, expect, it } from "vitest";
import type { ApiEnv } from "./env.ts";
import { fakePorts } from "./fakes.ts";
import { answerProblem, errorOf } from "./problem.ts";

async function answer(thrown: unknown) {
  const logged: unknown[] = [];
  const ports = fakePorts({ log: (event) => logged.push(event) });
  const app = new Hono<ApiEnv>();
  app.onError((error, c) => answerProblem(c, errorOf(ports, c, error)));
  app.get("/v1/x", () => {
    throw thrown;
  });
  const response = await app.request("/v1/x");
  return { response, json: await response.json(), logged };
}

describe("answerProblem", () => {
  it.each(Object.keys(CODES) as Code[])("answers %s with its status and title", async (code) => {
    const { response, json, logged } = await answer(new ControlPlaneError(code, "It is so."));

    expect(response.status).toBe(CODES[code].status);
    expect(response.headers.get("content-type")).toBe("application/problem+json");
    expect(Problem.parse(json)).toMatchObject({ code, detail: "It is so.", instance: "/v1/x" });
    expect(logged).toHaveLength(response.status >= 500 ? 1 : 0);
  });

  it("mirrors retryAfterMs in whole seconds, never 0", async () => {
    const after = async (retryAfterMs: number) => {
      const error = new ControlPlaneError("not_ready", "Wait.", { retryAfterMs });
      return (await answer(error)).response.headers.get("retry-after");
    };

    expect([await after(1), await after(1000), await after(1001)]).toEqual(["1", "1", "2"]);
  });

  it("puts hint and details on the wire, and never the cause", async () => {
    const cause = new Error("vendor says: key AKIA123");
    const error = new ControlPlaneError("provider_error", "It failed.", {
      hint: "Look.",
      details: { place: "here" },
      cause,
    });

    const { json } = await answer(error);

    expect(json).toMatchObject({ hint: "Look.", details: { place: "here" } });
    expect(JSON.stringify(json)).not.toContain("AKIA123");
  });

  it("says nothing of an unexpected error", async () => {
    const { json, logged } = await answer(new TypeError("x of undefined, hunter2"));

    expect(json).toMatchObject({ code: "internal", status: 500 });
    expect(JSON.stringify(json)).not.toContain("hunter2");
    expect(logged).toEqual(["request.failed"]);
  });
});
