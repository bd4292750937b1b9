import { type ChildProcess, spawn } from "node:child_process";
import { generateKeyPairSync, type KeyObject } from "node:crypto";
import { chown, mkdtemp, rm } from "node:fs/promises";
import http from "node:http";
import net from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import type { InitClaims } from "@soulbox/protocol";
import { Sandbox } from "e2b";
import { CompactSign } from "jose";
import { buildAgent } from "../build.ts";

/** Debian's `nobody`, the ordinary user of these tests. */
export const NOBODY = 65534;

/** The agent changes users, which only root may. */
export const canRun = process.platform === "linux" && process.getuid?.() === 0;

/** Answer of a request made with {@link Agent.request}. */
export interface Answer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: Buffer;
}

/** What to send with {@link Agent.request}. */
export interface RequestOptions {
  readonly method?: string;
  readonly headers?: http.OutgoingHttpHeaders;
  readonly body?: string | Uint8Array;
}

/** One agent under test and what drives it. */
export class Agent {
  readonly port: number;
  readonly launchId = "launch1-1";
  /** Directory of the ordinary user, removed at the end. */
  readonly workdir: string;
  readonly process: ChildProcess;
  readonly #key: KeyObject;

  private constructor(options: {
    port: number;
    workdir: string;
    process: ChildProcess;
    key: KeyObject;
  }) {
    this.port = options.port;
    this.workdir = options.workdir;
    this.process = options.process;
    this.#key = options.key;
  }

  /** Builds and starts an agent and waits until it answers. */
  static async start(): Promise<Agent> {
    const executable = await buildAgent(path.join(tmpdir(), "soulbox-agent-build"));
    const workdir = await mkdtemp(path.join(tmpdir(), "soulbox-agent-"));
    await chown(workdir, NOBODY, NOBODY);
    const { publicKey, privateKey: key } = generateKeyPairSync("ed25519");
    const port = await freePort();
    const child = spawn(executable, [], {
      stdio: ["ignore", "ignore", "inherit"],
      env: {
        PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        SOULBOX_LISTEN: `tcp:127.0.0.1:${port}`,
        SOULBOX_LAUNCH_ID: "launch1-1",
        SOULBOX_INIT_KEY: publicKey.export({ format: "jwk" }).x,
      },
    });
    const agent = new Agent({ port, workdir, process: child, key });
    await until(async () => (await agent.request("/health")).status === 204);
    return agent;
  }

  /** Starts an agent and makes it a sandbox. */
  static async startSandbox(claims: Partial<InitClaims> = {}): Promise<Agent> {
    const agent = await Agent.start();
    const answer = await agent.init(claims);
    if (answer.status !== 204) throw new Error(`init: ${answer.status} ${answer.body}`);
    return agent;
  }

  /** Ends the agent and removes its files. */
  async stop(): Promise<void> {
    this.process.kill("SIGKILL");
    await rm(this.workdir, { recursive: true, force: true });
  }

  /** Claims that make an ordinary sandbox. */
  claims(over: Partial<InitClaims> = {}): InitClaims {
    const now = Math.floor(Date.now() / 1000);
    return {
      aud: this.launchId,
      iat: now,
      exp: now + 60,
      sandboxId: "sandbox1",
      templateId: "base",
      accessToken: null,
      env: { SHARED: "from-init" },
      defaultUser: "nobody",
      defaultWorkdir: this.workdir,
      ...over,
    };
  }

  /** Signs claims as the control plane does. */
  async sign(claims: object, key = this.#key): Promise<string> {
    const bytes = new TextEncoder().encode(JSON.stringify(claims));
    return await new CompactSign(bytes).setProtectedHeader({ alg: "EdDSA" }).sign(key);
  }

  /** Posts signed claims. */
  async init(over: Partial<InitClaims> = {}): Promise<Answer> {
    const body = await this.sign(this.claims(over));
    return await this.request("/init", { method: "POST", body });
  }

  /** Makes one request on a connection of its own. */
  request(
    target: string,
    { method = "GET", headers = {}, body = "" }: RequestOptions = {},
  ): Promise<Answer> {
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    const request = http.request(
      { host: "127.0.0.1", port: this.port, path: target, method, headers, agent: false },
      (response) => {
        const pieces: Buffer[] = [];
        response.on("data", (piece: Buffer) => pieces.push(piece));
        response.on("error", reject);
        response.on("end", () => {
          const { statusCode: status = 0, headers } = response;
          resolve({ status, headers, body: Buffer.concat(pieces) });
        });
      },
    );
    request.on("error", reject);
    request.end(body);
    return promise;
  }

  /** Makes a unary call. */
  async call(method: string, message: unknown, headers: http.OutgoingHttpHeaders = {}) {
    const body = typeof message === "string" ? message : JSON.stringify(message);
    const answer = await this.request(`/${method}`, {
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body,
    });
    return { status: answer.status, json: JSON.parse(answer.body.toString()) };
  }

  /** Makes a streaming call and reads it to its end. */
  async stream(method: string, message: unknown, headers: http.OutgoingHttpHeaders = {}) {
    const body = message instanceof Uint8Array ? message : frame(message);
    const answer = await this.request(`/${method}`, {
      method: "POST",
      headers: { "content-type": "application/connect+json", ...headers },
      body,
    });
    return { status: answer.status, frames: readFrames(answer.body) };
  }

  /** Sends raw bytes and returns everything that comes back until the connection closes. */
  raw(bytes: string | Uint8Array): Promise<string> {
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    const socket = net.connect(this.port, "127.0.0.1", () => socket.write(bytes));
    let text = "";
    socket.on("data", (piece: Buffer) => {
      text += piece.toString("latin1");
    });
    socket.on("error", reject);
    socket.on("close", () => resolve(text));
    return promise;
  }

  /** E2B's own client, connected to this agent. */
  sandbox(envdAccessToken?: string): Sandbox {
    return new Sandbox({
      sandboxId: "sandbox1",
      envdVersion: "0.6.13",
      sandboxUrl: `http://127.0.0.1:${this.port}`,
      apiKey: `e2b_${"0".repeat(40)}`,
      ...(envdAccessToken === undefined ? {} : { envdAccessToken }),
    });
  }
}

/** Frames a message as a Connect client does. */
export function frame(message: unknown): Buffer {
  const json = Buffer.from(JSON.stringify(message));
  const head = Buffer.alloc(5);
  head.writeUInt32BE(json.length, 1);
  return Buffer.concat([head, json]);
}

/** Takes a stream's frames apart. */
export function readFrames(bytes: Buffer) {
  const frames = [];
  for (let at = 0; at < bytes.length; ) {
    const end = at + 5 + bytes.readUInt32BE(at + 1);
    frames.push({ flags: bytes[at], json: JSON.parse(bytes.toString("utf8", at + 5, end)) });
    at = end;
  }
  return frames;
}

/** Waits until a claim holds; fails after ten seconds. */
export async function until(claim: () => boolean | Promise<boolean>): Promise<void> {
  const deadlineMs = performance.now() + 10_000;
  for (;;) {
    try {
      if (await claim()) return;
    } catch (error) {
      if (performance.now() > deadlineMs) throw error;
    }
    if (performance.now() > deadlineMs) throw new Error(`never true: ${claim}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** A port that nobody listens on. */
export function freePort(): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const server = net.createServer().on("error", reject);
  server.listen(0, "127.0.0.1", () => {
    const address = server.address();
    server.close(() => resolve(typeof address === "object" && address ? address.port : 0));
  });
  return promise;
}
