/** Bytes of a file, first and last included. */
export interface ByteRange {
  readonly first: number;
  readonly last: number;
}

/**
 * Reads a `Range` header.
 *
 * @returns undefined to send the whole file (no header, several ranges, another unit);
 *   `"unsatisfiable"` for 416.
 */
export function parseRange(
  header: string | undefined,
  sizeBytes: number,
): ByteRange | "unsatisfiable" | undefined {
  const [, from, to] = /^bytes=(\d*)-(\d*)$/.exec(header?.replaceAll(" ", "") ?? "") ?? [];
  if (from === undefined || to === undefined || (from === "" && to === "")) return undefined;
  if (from === "") {
    const count = Math.min(Number(to), sizeBytes);
    if (count === 0) return "unsatisfiable";
    return { first: sizeBytes - count, last: sizeBytes - 1 };
  }
  const first = Number(from);
  const last = to === "" ? sizeBytes - 1 : Math.min(Number(to), sizeBytes - 1);
  if (to !== "" && Number(to) < first) return undefined;
  return first >= sizeBytes ? "unsatisfiable" : { first, last };
}

/**
 * Chooses a content coding. Gzip is taken when the client asks for it and for no other coding:
 * HTTP libraries list all they know by default, which is no wish to spend a processor on it.
 *
 * @returns undefined when the client accepts neither (406).
 */
export function chooseCoding(accept: string | undefined): "identity" | "gzip" | undefined {
  const weights = new Map<string, number>();
  for (const item of (accept ?? "").toLowerCase().split(",")) {
    const [name = "", ...parameters] = item.split(";").map((part) => part.trim());
    const weight = parameters.find((parameter) => parameter.startsWith("q="))?.slice(2);
    if (name !== "") weights.set(name, weight === undefined ? 1 : Number(weight) || 0);
  }
  const gzip = weights.get("gzip") ?? weights.get("*") ?? 0;
  const identity = weights.get("identity") ?? (weights.get("*") === 0 ? 0 : 1);
  const others = [...weights.keys()].filter((name) => name !== "gzip" && name !== "identity");
  if ((weights.get("gzip") ?? 0) > 0 && others.length === 0) return "gzip";
  if (identity > 0) return "identity";
  return gzip > 0 ? "gzip" : undefined;
}
