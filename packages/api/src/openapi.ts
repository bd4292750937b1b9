import type { OpenAPIHono } from "@hono/zod-openapi";
import type { ApiEnv } from "./env.ts";

/** Serves the document of `/v1`, which the routes' own schemas make up. */
export function documented(app: OpenAPIHono<ApiEnv>): void {
  app.openAPIRegistry.registerComponent("securitySchemes", "apiKey", {
    type: "apiKey",
    in: "header",
    name: "X-API-KEY",
  });
  app.openAPIRegistry.registerComponent("securitySchemes", "bearer", {
    type: "http",
    scheme: "bearer",
  });
  app.get("/openapi.json", (c) =>
    c.json(
      app.getOpenAPI31Document({
        openapi: "3.1.0",
        info: {
          title: "SoulBox",
          version: "1",
          description:
            "Code sandboxes on whatever cloud has room, each with its cost to the nano-dollar. " +
            "E2B's routes, which its own clients use, are served beside this API at the root.",
        },
      }),
    ),
  );
}
