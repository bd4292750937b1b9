import { z } from "zod";
import { CODES, type Code } from "./codes.ts";

/** Error body of `/v1` (RFC 9457), content type `application/problem+json`. */
export const Problem = z.object({
  type: z.string(),
  title: z.string(),
  status: z.number().int(),
  /** One sentence: what was tried, on what, and why it failed, with the values. */
  detail: z.string(),
  /** Path of the request. */
  instance: z.string().optional(),
  code: z.enum(Object.keys(CODES) as [Code, ...Code[]]),
  /** What to do next; absent rather than vague. */
  hint: z.string().optional(),
  retryable: z.boolean(),
  retryAfterMs: z.number().int().optional(),
  requestId: z.string().optional(),
  details: z.record(z.string(), z.unknown()).optional(),
});
export type Problem = z.infer<typeof Problem>;
