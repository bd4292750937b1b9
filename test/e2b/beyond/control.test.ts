import { randomUUID } from "node:crypto";
import { AuthenticationError, Sandbox, SandboxError } from "e2b";
import { describe, expect } from "vitest";
import { API_KEY, it, MARK, ORIGIN, ownSandbox, pages, refusal } from "../fixture.ts";

async function ask(path: string, init: RequestInit = {}): Promise<Response> {
  return fetch(`${ORIGIN}${path}`, {
    ...init,
    headers: { "X-API-KEY": API_KEY, "Content-Type": "application/json" },
  });
}

describe("control plane", () => {
  it("runs ten sandboxes at once and keeps them apart", async () => {
    const numbers = Array.from({ length: 10 }, (_, index) => index);

    const sandboxes = await Promise.all(
      numbers.map((number) => ownSandbox({ envs: { NUMBER: `${number}` } })),
    );
    const outputs = await Promise.all(
      sandboxes.map(async (sandbox) => {
        await sandbox.files.write("own.txt", sandbox.sandboxId);
        return (await sandbox.commands.run('echo "$NUMBER $(cat own.txt)"')).stdout;
      }),
    );

    expect(new Set(sandboxes.map(({ sandboxId }) => sandboxId)).size).toBe(10);
    expect(outputs).toEqual(sandboxes.map(({ sandboxId }, number) => `${number} ${sandboxId}\n`));
    const listed = await pages(Sandbox.list({ query: { metadata: MARK }, limit: 4 }));
    expect(listed.map((page) => page.length)).toEqual([4, 4, 2]);
  });

  it("shows no variable and no token in a list", async () => {
    const secret = randomUUID();
    const created = await ask("/v2/sandboxes", {
      method: "POST",
      body: JSON.stringify({
        templateID: "base",
        metadata: MARK,
        envVars: { PASSWORD: secret },
        timeout: 60,
      }),
    });
    expect(created.status).toBe(201);
    const { sandboxID, envdAccessToken } = (await created.json()) as Record<string, string>;

    const list = await (await ask("/v2/sandboxes")).text();
    const detail = await (await ask(`/sandboxes/${sandboxID}`)).text();
    await ask(`/sandboxes/${sandboxID}`, { method: "DELETE" });

    expect(envdAccessToken).toMatch(/^\S{20,}$/);
    expect(list).toContain(sandboxID);
    expect(list).not.toContain(secret);
    expect(list).not.toContain(envdAccessToken);
    expect(detail).not.toContain(secret);
  });

  it("serves the routes of older clients too", async () => {
    const created = await ask("/sandboxes", {
      method: "POST",
      body: JSON.stringify({ templateID: "base", metadata: MARK, timeout: 60, secure: true }),
    });
    expect(created.status).toBe(201);
    const { sandboxID, ...sandbox } = (await created.json()) as Record<string, string>;

    const connected = await ask(`/sandboxes/${sandboxID}/connect`, {
      method: "POST",
      body: JSON.stringify({ timeout: 60 }),
    });
    const killed = await ask(`/sandboxes/${sandboxID}`, { method: "DELETE" });

    expect(connected.status).toBe(200);
    expect(await connected.json()).toMatchObject({ sandboxID, ...sandbox });
    expect(killed.status).toBe(204);
  });

  it("refuses a wrong key and a missing template by their codes", async () => {
    const wrongKey = Sandbox.create({ apiKey: `e2b_${"0".repeat(40)}`, metadata: MARK });
    const noTemplate = Sandbox.create("no-such-template", { metadata: MARK });

    await refusal(wrongKey, AuthenticationError);
    const error = await refusal(noTemplate, SandboxError);
    expect(error.statusCode).toBe(404);
    expect(error.message).toMatch(/^404: template 'no-such-template' not found/);
  });
});
