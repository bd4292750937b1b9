import {
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { pinSocket } from "./pin.ts";
import {
  fakeAgent,
  type Running,
  routeTo,
  SANDBOX_ID,
  send,
  startGateway,
  until,
} from "./testing.ts";

const FROM_SANDBOX = { "e2b-sandbox-id": SANDBOX_ID };

let dir: string;
let agent: Running;
let victim: Running;

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), "gateway-pin-"));
  agent = await fakeAgent((_, response) => response.end("agent"), join(dir, "agent.sock"));
  victim = await fakeAgent((_, response) => response.end("victim"), join(dir, "victim.sock"));
});

afterEach(async () => {
  await agent.close();
  await victim.close();
  rmSync(dir, { recursive: true, force: true });
});

function descriptors(): number {
  return readdirSync("/proc/self/fd").length;
}

describe.runIf(process.platform === "linux")("pinSocket", () => {
  it("refuses a link to a socket, a file and nothing at all", () => {
    symlinkSync(join(dir, "victim.sock"), join(dir, "link.sock"));
    writeFileSync(join(dir, "file"), "");
    const before = descriptors();

    expect(() => pinSocket(join(dir, "link.sock"))).toThrow("is not a socket");
    expect(() => pinSocket(join(dir, "file"))).toThrow("is not a socket");
    expect(() => pinSocket(join(dir, "nothing"))).toThrow("ENOENT");
    expect(descriptors()).toBe(before);
  });

  it("closes its descriptor once", () => {
    const before = descriptors();
    const pin = pinSocket(join(dir, "agent.sock"));
    expect(descriptors()).toBe(before + 1);

    pin.release();
    pin.release();

    expect(descriptors()).toBe(before);
    expect(pin.isReleased).toBe(true);
  });

  it("checks at least, where there is no /proc, and says that this is all", () => {
    symlinkSync(join(dir, "victim.sock"), join(dir, "link.sock"));

    expect(() => pinSocket(join(dir, "link.sock"), "darwin")).toThrow("is not a socket");
    expect(pinSocket(join(dir, "agent.sock"), "darwin").isExact).toBe(false);
  });
});

describe.runIf(process.platform === "linux")("gateway over unix sockets", () => {
  it("never follows a link that a sandbox puts in its socket's place", async () => {
    const address = join(dir, "agent.sock");
    const gateway = await startGateway({ resolve: () => routeTo(`unix:${address}`) });
    try {
      expect((await send(gateway.port, { headers: FROM_SANDBOX })).text).toBe("agent");

      // Swapped while pinned: still the agent, also over fresh connections.
      renameSync(address, join(dir, "moved.sock"));
      symlinkSync(join(dir, "victim.sock"), address);
      const answers = await Promise.all(
        Array.from({ length: 20 }, () => send(gateway.port, { headers: FROM_SANDBOX })),
      );
      expect(new Set(answers.map(({ text }) => text))).toEqual(new Set(["agent"]));

      // Swapped and unpinned: nothing is answered, and not by the victim.
      await agent.close();
      await until(() => gateway.gateway.stats.active === 0);
      const answer = await send(gateway.port, { headers: FROM_SANDBOX });
      expect(answer.status).toBe(502);
      expect(answer.text).not.toContain("victim");
    } finally {
      await gateway.close();
    }
  });

  it("takes hold of the socket anew when the agent has started anew", async () => {
    const address = join(dir, "agent.sock");
    const gateway = await startGateway({ resolve: () => routeTo(`unix:${address}`) });
    try {
      await send(gateway.port, { headers: FROM_SANDBOX });
      await agent.close();
      rmSync(address, { force: true });
      agent = await fakeAgent((_, response) => response.end("again"), address);

      const post = { headers: { ...FROM_SANDBOX, "content-length": "2" }, method: "POST" };
      expect((await send(gateway.port, { ...post, body: "ab" })).text).toBe("again");
      expect((await send(gateway.port, { headers: FROM_SANDBOX })).text).toBe("again");
    } finally {
      await gateway.close();
    }
  });

  it("lets go of the descriptor at the end", async () => {
    const before = descriptors();
    const gateway = await startGateway({
      resolve: () => routeTo(`unix:${join(dir, "agent.sock")}`),
    });
    await send(gateway.port, { headers: FROM_SANDBOX });

    await gateway.close();
    await until(() => descriptors() <= before);

    unlinkSync(join(dir, "victim.sock"));
  });
});
