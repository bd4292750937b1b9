/**
 * JSON documents that are read as strictly as they are written. A codec names every field of its
 * type, so that a field that is added to the type and forgotten here does not compile. Fields are
 * written in one fixed order: equal values have equal texts.
 */

/** What a document is wrong in. Names the place, never the value: values may be secret. */
export class Damage extends Error {
  /** Path of the field, outermost first. */
  readonly path: string[] = [];

  constructor(expected: string) {
    super(expected);
    this.name = "Damage";
  }

  /** One clause for a message. */
  get found(): string {
    return `${this.path.length === 0 ? "the document" : this.path.join(".")} is not ${this.message}`;
  }
}

/** Both ways between a value and its JSON. */
export interface Codec<Value> {
  write(value: Value): unknown;
  /** @throws Damage */
  read(json: unknown): Value;
}

export function text<Value extends string = string>(): Codec<Value> {
  return {
    write: (value) => value,
    read: (json) => {
      if (typeof json === "string") return json as Value;
      throw new Damage("a text");
    },
  };
}

/** Any safe integer. */
export function integer<Value extends number = number>(): Codec<Value> {
  return {
    write: (value) => value,
    read: (json) => {
      if (Number.isSafeInteger(json)) return json as Value;
      throw new Damage("an integer");
    },
  };
}

/** A bigint, as its decimal digits. */
export function digits<Value extends bigint = bigint>(): Codec<Value> {
  return {
    write: (value) => String(value),
    read: (json) => {
      if (typeof json === "string" && /^-?[0-9]+$/.test(json)) return BigInt(json) as Value;
      throw new Damage("a text of digits");
    },
  };
}

export function flag(): Codec<boolean> {
  return {
    write: (value) => value,
    read: (json) => {
      if (typeof json === "boolean") return json;
      throw new Damage("true or false");
    },
  };
}

export function oneOf<Value extends string>(...values: readonly Value[]): Codec<Value> {
  const known: ReadonlySet<unknown> = new Set(values);
  return {
    write: (value) => value,
    read: (json) => {
      if (known.has(json)) return json as Value;
      throw new Damage(`one of ${values.join(", ")}`);
    },
  };
}

/** A field that is absent from the JSON while it is `undefined`. */
export function optional<Value>(codec: Codec<Value>): Codec<Value | undefined> {
  return {
    write: (value) => (value === undefined ? undefined : codec.write(value)),
    read: (json) => (json === undefined ? undefined : codec.read(json)),
  };
}

export function listOf<Value>(codec: Codec<Value>): Codec<readonly Value[]> {
  return {
    write: (values) => values.map(codec.write),
    read: (json) => {
      if (!Array.isArray(json)) throw new Damage("a list");
      return json.map((item, index) => {
        try {
          return codec.read(item);
        } catch (thrown) {
          throw within(String(index), thrown);
        }
      });
    },
  };
}

/** Texts under any names, `__proto__` included. */
export function texts(): Codec<Readonly<Record<string, string>>> {
  return {
    write: (value) => value,
    read: (json) => {
      if (!isObject(json)) throw new Damage("an object of texts");
      for (const value of Object.values(json)) {
        if (typeof value !== "string") throw new Damage("an object of texts");
      }
      return json as Record<string, string>;
    },
  };
}

/** An object with exactly these fields. */
export function fields<Value extends object>(
  codecs: {
    readonly [Name in keyof Value]-?: Codec<Value[Name]>;
  },
): Codec<Value> {
  const list = Object.entries<Codec<unknown>>(codecs);
  // Filled in, not built up: all objects of one kind then share one shape, which is twice as fast.
  const empty: Record<string, unknown> = Object.fromEntries(
    list.map(([name]) => [name, undefined]),
  );
  return {
    write: (value) => {
      const json = { ...empty };
      for (const [name, codec] of list) json[name] = codec.write(Reflect.get(value, name));
      return json;
    },
    read: (json) => {
      if (!isObject(json)) throw new Damage("an object");
      const value = { ...empty };
      let at = "";
      try {
        for (const [name, codec] of list) {
          at = name;
          value[name] = codec.read(json[name]);
        }
      } catch (thrown) {
        throw within(at, thrown);
      }
      return value as Value;
    },
  };
}

/** Reads a document. @throws Damage */
export function parse<Value>(codec: Codec<Value>, document: string): Value {
  let json: unknown;
  try {
    json = JSON.parse(document);
  } catch {
    throw new Damage("JSON");
  }
  return codec.read(json);
}

/** Writes a document. */
export function print<Value>(codec: Codec<Value>, value: Value): string {
  return JSON.stringify(codec.write(value));
}

function isObject(json: unknown): json is Record<string, unknown> {
  return typeof json === "object" && json !== null && !Array.isArray(json);
}

function within(name: string, thrown: unknown): unknown {
  if (thrown instanceof Damage) thrown.path.unshift(name);
  return thrown;
}
