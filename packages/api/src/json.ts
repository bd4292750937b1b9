import { ControlPlaneError, quote } from "@soulbox/core";

/** Deepest nesting of a body; nothing that we read needs more than four. */
export const JSON_DEPTH_MAX = 64;

/**
 * Reads JSON strictly: what different readers take differently is refused rather than guessed.
 *
 * @throws invalid_request for a syntax error, nesting deeper than {@link JSON_DEPTH_MAX}, a member
 *   that occurs twice in one object, the member `__proto__`, or text that no UTF-8 can hold. The
 *   body itself, which may hold secrets, is never quoted.
 */
export function parseJson(text: string): unknown {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    const position = /position (\d+)/.exec(String(error))?.[1];
    const where = position === undefined ? "" : ` at character ${position}`;
    throw refused(`The body is not valid JSON${where}.`);
  }
  checkStructure(text);
  if (text.includes("\\u") && !holdsOnlyText(value)) {
    throw refused("The body holds half of a surrogate pair, which is no character.");
  }
  return value;
}

/** JSON with members in a fixed order, so that equal values have equal text. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, member: unknown) => {
    if (typeof member !== "object" || member === null || Array.isArray(member)) return member;
    return Object.fromEntries(Object.entries(member).sort(([a], [b]) => (a < b ? -1 : 1)));
  });
}

/** Walks valid JSON once, without recursion. */
function checkStructure(text: string): void {
  const open: (Set<string> | undefined)[] = [];
  let names = false;
  for (let i = 0; i < text.length; i++) {
    const char = text[i];
    if (char === '"') {
      const end = endOfString(text, i);
      if (names) checkName(open.at(-1), text.slice(i, end + 1));
      names = false;
      i = end;
    } else if (char === "{" || char === "[") {
      open.push(char === "{" ? new Set() : undefined);
      names = char === "{";
      if (open.length > JSON_DEPTH_MAX) {
        throw refused(`The body is nested deeper than ${JSON_DEPTH_MAX} levels.`);
      }
    } else if (char === "}" || char === "]") {
      open.pop();
      names = false;
    } else if (char === ",") {
      names = open.at(-1) !== undefined;
    }
  }
}

function checkName(seen: Set<string> | undefined, quoted: string): void {
  const name = String(JSON.parse(quoted));
  if (seen?.has(name)) throw refused(`The member ${quote(name)} occurs twice in one object.`);
  if (name === "__proto__") throw refused(`The member ${quote(name)} is not possible.`);
  seen?.add(name);
}

function endOfString(text: string, start: number): number {
  let i = start + 1;
  while (text[i] !== '"') i += text[i] === "\\" ? 2 : 1;
  return i;
}

function holdsOnlyText(value: unknown): boolean {
  if (typeof value === "string") return value.isWellFormed();
  if (typeof value !== "object" || value === null) return true;
  return Object.entries(value).every(
    ([name, member]) => name.isWellFormed() && holdsOnlyText(member),
  );
}

function refused(detail: string): ControlPlaneError {
  return new ControlPlaneError("invalid_request", detail);
}
