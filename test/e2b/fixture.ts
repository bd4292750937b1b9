import { randomUUID } from "node:crypto";
import { E2B, Sandbox, type SandboxInfo, type SandboxOpts, type SandboxPaginator } from "e2b";
import { afterAll, beforeAll, expect, inject, onTestFinished, test } from "vitest";
import { DIFFERENCES } from "./differences.ts";

const { provider, url, apiKey, run } = inject("soulbox");

/** Origin of API and gateway. */
export const ORIGIN = url;

/** The key that the tests use. */
export const API_KEY = apiKey;

/** Metadata of every sandbox that this file creates. */
export const MARK = { run, file: randomUUID() } as const;

/** Long enough for any test, short enough that a crashed run leaves nothing for long. */
const LIFETIME_MS = 180_000;

/** The two ways to use the SDK: set up by the environment, or by options of a client object. */
export const CLIENTS = [
  { name: "environment", Sandbox },
  { name: "client", Sandbox: new E2B({ apiKey, apiUrl: url, sandboxUrl: url }).Sandbox },
] as const;

/**
 * A test of one behaviour. On a provider that declares a difference, the same body must end with
 * the declared error.
 */
export function it(title: string, body: () => Promise<void>): void {
  const difference = DIFFERENCES.find(
    (each) => each.provider === provider && each.behaviour === title,
  );
  if (difference === undefined) {
    test(title, body);
    return;
  }
  test(`${title} [differs: ${difference.reason}]`, async () => {
    const error = await rejection(body());

    expect(error.name).toBe(difference.error.name);
    expect(error.message).toMatch(difference.error.message);
  });
}

/** A sandbox of the running test's own; it is killed when the test is over. */
export async function ownSandbox(options: SandboxOpts = {}): Promise<Sandbox> {
  const sandbox = await create(options);
  onTestFinished(async () => {
    await sandbox.kill();
  });
  return sandbox;
}

/** One sandbox for all tests of a file, for those that leave each other alone in it. */
export function sharedSandbox(options: SandboxOpts = {}): { readonly sandbox: Sandbox } {
  let sandbox: Sandbox | undefined;
  beforeAll(async () => {
    sandbox = await create(options);
  });
  afterAll(async () => {
    await sandbox?.kill();
  });
  return {
    get sandbox() {
      if (sandbox === undefined) throw new Error("The shared sandbox exists only within tests.");
      return sandbox;
    },
  };
}

async function create(options: SandboxOpts): Promise<Sandbox> {
  const metadata = { ...MARK, ...options.metadata };
  return Sandbox.create({ timeoutMs: LIFETIME_MS, ...options, metadata });
}

/** A fresh directory in the home of the sandbox's default user; returns its absolute path. */
export async function freshDirectory(sandbox: Sandbox): Promise<string> {
  const path = `/home/user/${randomUUID()}`;
  await sandbox.files.makeDir(path);
  return path;
}

/** Every page that a paginator has. */
export async function pages(paginator: SandboxPaginator): Promise<SandboxInfo[][]> {
  const all: SandboxInfo[][] = [];
  while (paginator.hasNext) all.push(await paginator.nextItems());
  return all;
}

/** The error that a promise ends with. */
export async function rejection(promise: Promise<unknown>): Promise<Error> {
  const outcome = await promise.then(
    (value) => new Error(`It succeeded, with ${JSON.stringify(value)}.`),
    (error: unknown) => ({ error }),
  );
  if (outcome instanceof Error) throw outcome;
  expect(outcome.error).toBeInstanceOf(Error);
  return outcome.error as Error;
}

/** Demands that a promise ends with an error of exactly this class, and returns it. */
export async function refusal<E extends Error>(
  promise: Promise<unknown>,
  type: new (...given: never[]) => E,
): Promise<E> {
  const error = await rejection(promise);
  expect(error.constructor, `${error}`).toBe(type);
  return error as E;
}

/** Headers that lead a plain HTTP request to a port of a sandbox. */
export function towards(sandbox: Sandbox, port: number): Record<string, string> {
  return { "E2b-Sandbox-Id": sandbox.sandboxId, "E2b-Sandbox-Port": String(port) };
}
