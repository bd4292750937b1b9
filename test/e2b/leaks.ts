import { Sandbox } from "e2b";
import { afterAll, expect, inject } from "vitest";
import { MARK, pages } from "./fixture.ts";

// What a user sets, and nothing more.
const { url, apiKey } = inject("soulbox");
Object.assign(process.env, { E2B_API_KEY: apiKey, E2B_API_URL: url, E2B_SANDBOX_URL: url });

// Registered before any hook of a test file, so it runs after all of them.
afterAll(async () => {
  const left = (await pages(Sandbox.list({ query: { metadata: MARK } }))).flat();
  expect(
    left.map(({ sandboxId }) => sandboxId),
    "sandboxes that this file left behind",
  ).toEqual([]);
});
