import type { AGENT_ENV, AGENT_PORT } from "@soulbox/protocol";

type AgentEnv = typeof AGENT_ENV;

/** Port that E2B's clients ask for when they mean the agent itself. */
export const OWN_PORT: typeof AGENT_PORT = 49983;

// Only types are taken from the protocol: its schema library costs more memory and boot time than
// the rest of this program. The types make a difference between the two a compile error.
const LISTEN: AgentEnv["listen"] = "SOULBOX_LISTEN";
const LAUNCH_ID: AgentEnv["launchId"] = "SOULBOX_LAUNCH_ID";
const INIT_KEY: AgentEnv["initKey"] = "SOULBOX_INIT_KEY";

/** Where the agent answers. */
export type Listen =
  | { readonly kind: "tcp"; readonly address: string; readonly port: number }
  | { readonly kind: "unix"; readonly path: string };

/** What the agent is started with. */
export interface Settings {
  readonly listen: Listen;
  /** Launch id of this instance; `init` must be addressed to it. */
  readonly launchId: string;
  /** Ed25519 public key of `init`, 32 bytes. */
  readonly initKey: Uint8Array<ArrayBuffer>;
}

/**
 * Reads the settings.
 *
 * @throws Error that names every variable that is missing or wrong.
 */
export function readSettings(env: Readonly<Record<string, string | undefined>>): Settings {
  const problems: string[] = [];
  const launchId = env[LAUNCH_ID] ?? "";
  if (launchId === "") problems.push(`${LAUNCH_ID} is missing`);
  const initKey = new Uint8Array(Buffer.from(env[INIT_KEY] ?? "", "base64url"));
  if (initKey.length !== 32) {
    problems.push(`${INIT_KEY} holds ${initKey.length} bytes, an Ed25519 key has 32`);
  }
  const text = env[LISTEN] ?? `tcp:0.0.0.0:${OWN_PORT}`;
  const listen = parseListen(text);
  if (listen === undefined) {
    problems.push(`${LISTEN} is ${JSON.stringify(text)}, not tcp:<address>:<port> or unix:<path>`);
  }
  if (problems.length > 0 || listen === undefined) throw new Error(problems.join("; "));
  return { listen, launchId, initKey };
}

/** Parses `tcp:<address>:<port>` (IPv6 in brackets or bare) or `unix:<path>`. */
export function parseListen(text: string): Listen | undefined {
  const path = /^unix:(\/.+)$/.exec(text)?.[1];
  if (path !== undefined) return { kind: "unix", path };
  const tcp = /^tcp:\[?([0-9A-Za-z.:%-]+?)\]?:(\d{1,5})$/.exec(text);
  const port = Number(tcp?.[2]);
  if (tcp?.[1] === undefined || port > 65535) return undefined;
  return { kind: "tcp", address: tcp[1], port };
}
