import { describe } from "vitest";
import { httpContract } from "./http.contract.ts";
import { fetchOf } from "./http.world.ts";

describe("HTTP contract: fetch", () => {
  httpContract(async (world) => ({ fetch: fetchOf(world), close: async () => undefined }));
});
