import {
  type ApiKey,
  type Attempt,
  type LedgerEntry,
  type NetworkSpec,
  type OpenInterval,
  type PaidState,
  type Place,
  PROVIDER_FAULTS,
  type Price,
  type Resources,
  type Sandbox,
  type SandboxSpec,
  SCOPES,
  type Tenant,
  unreachable,
} from "@soulbox/core";
import { END_REASONS, STATES } from "@soulbox/protocol";
import {
  type Codec,
  Damage,
  digits,
  fields,
  flag,
  integer,
  listOf,
  oneOf,
  optional,
  parse,
  text,
  texts,
} from "./codec.ts";
import { damaged } from "./faults.ts";

const RESOURCES = fields<Resources>({
  cpuMilli: integer(),
  memoryMib: integer(),
  diskMib: integer(),
});

const PLACE = fields<Place>({ provider: text(), region: text() });

const PRICE = fields<Price>({
  book: text(),
  cpuNanoUsdPerHour: digits(),
  memoryNanoUsdPerHour: digits(),
  diskNanoUsdPerHour: digits(),
});

const PAID_STATE = oneOf<PaidState>("running", "paused");

const SPEC = fields<SandboxSpec>({
  templateId: text(),
  templateName: text(),
  resources: RESOURCES,
  env: texts(),
  metadata: texts(),
  lifetimeMs: integer(),
  onExpiry: oneOf("terminate", "pause"),
  autoResume: flag(),
  secure: flag(),
  network: fields<NetworkSpec>({
    internet: optional(flag()),
    publicTraffic: flag(),
    maskRequestHost: optional(text()),
    bandwidthKbit: optional(integer()),
  }),
});

/** A row. */
export const SANDBOX = fields<Sandbox>({
  id: text(),
  tenantId: text(),
  spec: SPEC,
  state: oneOf(...STATES),
  endReason: optional(oneOf(...END_REASONS)),
  incarnation: integer(),
  place: PLACE,
  resources: RESOURCES,
  nativeId: optional(text()),
  agentAddress: optional(text()),
  attempts: listOf(
    fields<Attempt>({
      place: PLACE,
      incarnation: integer(),
      fault: oneOf(...PROVIDER_FAULTS),
      atMs: integer(),
    }),
  ),
  intervals: integer(),
  billing: optional(
    fields<OpenInterval>({
      interval: integer(),
      state: PAID_STATE,
      openedAtMs: integer(),
      price: PRICE,
    }),
  ),
  createdAtMs: integer(),
  startedAtMs: optional(integer()),
  endedAtMs: optional(integer()),
  expiresAtMs: integer(),
  dueAtMs: optional(integer()),
  deadlineMs: optional(integer()),
  provenAtMs: integer(),
  tries: integer(),
  version: integer(),
});

type EntryOf<Kind extends LedgerEntry["kind"]> = Extract<LedgerEntry, { readonly kind: Kind }>;

const ENTRY_BASE = {
  id: text<LedgerEntry["id"]>(),
  sandboxId: text<LedgerEntry["sandboxId"]>(),
  tenantId: text<LedgerEntry["tenantId"]>(),
  atMs: integer<LedgerEntry["atMs"]>(),
  incarnation: integer(),
  interval: integer(),
};

const ENTRIES: { readonly [Kind in LedgerEntry["kind"]]: Codec<EntryOf<Kind>> } = {
  open: fields<EntryOf<"open">>({
    ...ENTRY_BASE,
    kind: oneOf("open"),
    state: PAID_STATE,
    resources: RESOURCES,
    place: PLACE,
    price: PRICE,
  }),
  close: fields<EntryOf<"close">>({
    ...ENTRY_BASE,
    kind: oneOf("close"),
    billedMs: integer(),
    amount: digits(),
  }),
  adjust: fields<EntryOf<"adjust">>({
    ...ENTRY_BASE,
    kind: oneOf("adjust"),
    corrects: text(),
    amount: digits(),
    why: text(),
  }),
};

const KIND = oneOf<LedgerEntry["kind"]>("open", "close", "adjust");

/** A line of the ledger. */
export const ENTRY: Codec<LedgerEntry> = {
  write: (entry) => {
    switch (entry.kind) {
      case "open":
        return ENTRIES.open.write(entry);
      case "close":
        return ENTRIES.close.write(entry);
      case "adjust":
        return ENTRIES.adjust.write(entry);
      default:
        return unreachable(entry);
    }
  },
  read: (json) => {
    if (typeof json !== "object" || json === null) throw new Damage("an object");
    return ENTRIES[KIND.read(Reflect.get(json, "kind"))].read(json);
  },
};

/** Who pays. */
export const TENANT = fields<Tenant>({
  id: text(),
  name: text(),
  sandboxCountMax: integer(),
  createdAtMs: integer(),
});

/** A key as it is kept. */
export const API_KEY = fields<ApiKey>({
  id: text(),
  hash: text(),
  tenantId: text(),
  name: text(),
  scopes: listOf(oneOf(...SCOPES)),
  createdAtMs: integer(),
  expiresAtMs: optional(integer()),
});

/** Where a document was found, for a message that helps. */
export interface Found {
  readonly file: string;
  /** What it is and its id, `sandbox sb0…` for example. */
  readonly what: string;
}

/**
 * Reads a document out of the database.
 *
 * @throws internal when it isn't what was written, naming the file, the row and the field.
 */
export function readDocument<Value>(codec: Codec<Value>, document: string, found: Found): Value {
  try {
    return parse(codec, document);
  } catch (thrown) {
    if (!(thrown instanceof Damage)) throw thrown;
    throw damaged(found.file, `in ${found.what}, ${thrown.found}`, thrown);
  }
}
