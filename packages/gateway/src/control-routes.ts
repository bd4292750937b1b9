/** Routes of the agent that only the control plane may use. Source: E2B's proxy. */
const CONTROL_ROUTES = new Set(["init", "freeze", "unfreeze", "collapse", "fsfreeze", "fsthaw"]);

/** Rounds of percent-decoding; whatever is still encoded after them is no path of ours. */
const DECODE_ROUNDS = 4;

/** One or two plain segments, as almost every request has: nothing in them to be read twice. */
const PLAIN = /^\/(\w[\w.]*)(\/\w[\w.]*)?(?:\?|$)/;

/**
 * True when a request target names a control-only route of the agent under any spelling that some
 * parser might take for it: doubled or backward slashes, percent signs (also nested), dot
 * segments, path parameters, a trailing slash, another case.
 */
export function isControlRoute(url: string): boolean {
  const plain = PLAIN.exec(url);
  if (plain !== null) {
    return plain[2] === undefined && CONTROL_ROUTES.has((plain[1] ?? "").toLowerCase());
  }
  let path = url.split(/[?#]/, 1)[0] ?? "";
  for (let round = 0; round < DECODE_ROUNDS && path.includes("%"); round++) {
    path = path.replace(/%([0-9a-f]{2})/gi, (_, hex: string) =>
      String.fromCharCode(Number.parseInt(hex, 16)),
    );
  }
  const segments: string[] = [];
  for (const part of path.split(/[/\\]+/)) {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: parsers trim or cut at these
    const segment = (part.split(/[;?#\u0000]/, 1)[0] ?? "").replace(/[\u0000-\u0020]+/g, "");
    if (segment === "" || segment === ".") continue;
    if (segment === "..") segments.pop();
    else segments.push(segment.toLowerCase());
  }
  return segments.length === 1 && CONTROL_ROUTES.has(segments[0] ?? "");
}
