import { describe, expect, it } from "vitest";
import { createSignatureIndex, readSignedUrl, type SignedUrl, signFileUrl } from "./signature.ts";

const TOKEN = "0tQG31xiMp0IOQfaz9dcwi72L1CPo8e0";
const KNOWN = "v1_gUtH/s9YCJWgCizjfUxuWfhFE4QSydOWEIIvfLwDr6E";

function urlOf(parts: Record<string, string>): string {
  return `/files?${new URLSearchParams(parts)}`;
}

function signed(token: string, expiration?: string): SignedUrl {
  const url = { subject: ["a.txt", "read", "user"] as const, expiration };
  return { ...url, signature: signFileUrl(url, token) };
}

describe("signFileUrl", () => {
  it("makes the signature that E2B publishes as its check value", () => {
    const url = { subject: ["hello.txt", "read", "user"] as const, expiration: undefined };

    expect(signFileUrl(url, TOKEN)).toBe(KNOWN);
  });
});

describe("readSignedUrl", () => {
  it("reads what is signed, raw", () => {
    const url = urlOf({ path: "/a b+c.txt", username: "root", signature: KNOWN });

    expect(readSignedUrl("POST", url, 0)).toEqual({
      signature: KNOWN,
      subject: ["/a b+c.txt", "write", "root"],
      expiration: undefined,
    });
  });

  it("takes absent parts as empty, and a plus sign left bare in the signature", () => {
    const withPlus = KNOWN.replace("/", "+");

    expect(readSignedUrl("HEAD", `/files?signature=${withPlus}`, 0)).toEqual({
      signature: withPlus,
      subject: ["", "read", ""],
      expiration: undefined,
    });
  });

  it("says in the agent's words that a signature has expired", () => {
    const url = urlOf({ path: "a", signature: KNOWN, signature_expiration: "10" });

    expect(readSignedUrl("GET", url, 10_001)).toMatchObject({
      status: 401,
      body: { code: 401, message: "signature is already expired" },
    });
    expect(readSignedUrl("GET", url, 10_000)).toMatchObject({ expiration: "10" });
  });

  it.each([
    ["a signature of another form", "/files?signature=v1_x", 401],
    ["two paths", `/files?path=a&path=b&signature=${KNOWN}`, 400],
    ["an expiration that is no number", `/files?signature=${KNOWN}&signature_expiration=1e9`, 400],
  ])("refuses %s", (_name, url, status) => {
    expect(readSignedUrl("GET", url, 0)).toMatchObject({ status });
  });
});

describe("createSignatureIndex", () => {
  it("finds the sandbox whose token made the signature, and remembers it", async () => {
    let scans = 0;
    const index = createSignatureIndex(() => {
      scans += 1;
      return [
        { sandboxId: "new", accessToken: "n" },
        { sandboxId: "old", accessToken: "o" },
      ];
    });

    expect(await index.find(signed("o"))).toBe("old");
    expect(await index.find(signed("o"))).toBe("old");
    expect(scans).toBe(1);
    expect(await index.find(signed("n", "99"))).toBe("new");
    expect(await index.find(signed("x"))).toBeUndefined();
  });

  it("tries no more sandboxes than it may", async () => {
    let drawn = 0;
    async function* owners() {
      for (;;) {
        drawn += 1;
        yield { sandboxId: `s${drawn}`, accessToken: `t${drawn}` };
      }
    }
    const index = createSignatureIndex(owners, { triesMax: 600 });

    expect(await index.find(signed("x"))).toBeUndefined();
    expect(drawn).toBe(600);
  });

  it("goes on after a scan that failed", async () => {
    let isBroken = true;
    const index = createSignatureIndex(() => {
      if (isBroken) throw new Error("the store is down");
      return [{ sandboxId: "a", accessToken: "a" }];
    });

    await expect(index.find(signed("a"))).rejects.toThrow("the store is down");
    isBroken = false;
    expect(await index.find(signed("a"))).toBe("a");
  });
});
