import { RpcError } from "./rpc-error.ts";

/** One JSON object of a request. Unknown members are ignored, as proto3 asks of a reader. */
export type Message = Readonly<Record<string, unknown>>;

function wrong(field: string, value: unknown, wanted: string): RpcError {
  const shown = show(value).slice(0, 60);
  return new RpcError("invalid_argument", `${field}: ${shown} is not ${wanted}`);
}

function show(value: unknown): string {
  try {
    return JSON.stringify(value) ?? String(value);
  } catch {
    // Too deep: it was parsed without recursion but can't be printed without.
    return "what was given";
  }
}

function isObject(value: unknown): value is Message {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * Parses the JSON of a request.
 *
 * @throws RpcError invalid_argument when it is no JSON object.
 */
export function parseMessage(text: string): Message {
  let value: unknown;
  try {
    value = text === "" ? {} : JSON.parse(text);
  } catch (error) {
    throw new RpcError("invalid_argument", `the message is not JSON: ${String(error)}`);
  }
  if (!isObject(value)) throw wrong("message", value, "an object");
  return value;
}

/** Member that may be absent; `null` counts as absent, as proto3's JSON mapping says. */
function member(message: Message, name: string): unknown {
  const value = Object.hasOwn(message, name) ? message[name] : undefined;
  return value === null ? undefined : value;
}

/** Text member, or undefined. */
export function optionalText(message: Message, name: string): string | undefined {
  const value = member(message, name);
  if (value === undefined || typeof value === "string") return value;
  throw wrong(name, value, "a string");
}

/** Text member; `""` when absent. */
export function text(message: Message, name: string): string {
  return optionalText(message, name) ?? "";
}

/** Boolean member, or undefined. */
export function optionalFlag(message: Message, name: string): boolean | undefined {
  const value = member(message, name);
  if (value === undefined || typeof value === "boolean") return value;
  throw wrong(name, value, "a boolean");
}

/** Whole number from 0 to 2³²−1, or undefined. Text of digits counts, as in proto3's mapping. */
export function optionalUint32(message: Message, name: string): number | undefined {
  const value = member(message, name);
  if (value === undefined) return undefined;
  const number = typeof value === "string" && /^\d+$/.test(value) ? Number(value) : value;
  if (typeof number === "number" && Number.isInteger(number) && number >= 0 && number < 2 ** 32) {
    return number;
  }
  throw wrong(name, value, "an integer from 0 to 4294967295");
}

/** Object member, or undefined. */
export function optionalObject(message: Message, name: string): Message | undefined {
  const value = member(message, name);
  if (value === undefined || isObject(value)) return value;
  throw wrong(name, value, "an object");
}

/** List of texts; empty when absent. */
export function textList(message: Message, name: string): readonly string[] {
  const value = member(message, name) ?? [];
  if (!Array.isArray(value)) throw wrong(name, value, "a list");
  return value.map((item: unknown, index) => {
    if (typeof item !== "string") throw wrong(`${name}[${index}]`, item, "a string");
    return item;
  });
}

/** Map from text to text; empty when absent. */
export function textMap(message: Message, name: string): Readonly<Record<string, string>> {
  const map: Record<string, string> = Object.create(null);
  for (const [key, value] of Object.entries(optionalObject(message, name) ?? {})) {
    if (typeof value !== "string")
      throw wrong(`${name}[${JSON.stringify(key)}]`, value, "a string");
    map[key] = value;
  }
  return map;
}

/** Bytes in base64, standard or URL-safe, padded or not; undefined when absent. */
export function optionalBytes(message: Message, name: string): Buffer | undefined {
  const value = member(message, name);
  if (value === undefined) return undefined;
  if (typeof value !== "string") throw wrong(name, value, "base64 text");
  const digits = value.replace(/={0,2}$/, "");
  if (!/^[A-Za-z0-9+/_-]*$/.test(digits) || digits.length % 4 === 1) {
    throw wrong(name, value, "base64");
  }
  return Buffer.from(value, "base64");
}

/** Enum member by name or number; undefined when absent. */
export function optionalEnum<Value extends number>(
  message: Message,
  name: string,
  values: Readonly<Record<string, Value>>,
): Value | undefined {
  const value = member(message, name);
  if (value === undefined) return undefined;
  for (const [key, number] of Object.entries(values)) {
    if (value === key || value === number) return number;
  }
  throw wrong(name, value, `one of ${Object.keys(values).join(", ")}`);
}
