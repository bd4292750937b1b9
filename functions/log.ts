import type { Ports } from "@soulbox/core";
import { destination, pino } from "pino";

/** Events that an operator should see without asking. */
const WARNINGS = /\.(failed|stuck|unavailable|unreachable|deferred)$/;
const SECRET = /e2b_[0-9a-f]{40}/g;

/** Writes one JSON line per event to the error output, from `level` on. */
export function createLog(level: string): Ports["log"] {
  const logger = pino({ level, base: null }, destination({ fd: 2, sync: true }));
  return (event, fields) => {
    const line: Record<string, unknown> = { event };
    for (const [name, value] of Object.entries(fields)) {
      const text = value instanceof Error ? `${value.name}: ${value.message}` : value;
      line[name] = typeof text === "string" ? text.replace(SECRET, "e2b_…") : text;
    }
    if (WARNINGS.test(event)) logger.warn(line);
    else logger.info(line);
  };
}
