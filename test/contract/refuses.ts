import type { Code } from "@soulbox/protocol";
import { expect } from "vitest";

/** Asserts by code that a call is refused. */
export async function refuses(call: Promise<unknown>, code: Code): Promise<void> {
  await expect(call).rejects.toMatchObject({ name: "ControlPlaneError", code });
}
