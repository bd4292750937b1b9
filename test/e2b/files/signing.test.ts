import { describe, expect } from "vitest";
import { it, sharedSandbox } from "../fixture.ts";

const shared = sharedSandbox();

/** Uploads as a browser's form does. */
async function upload(address: string, content: string): Promise<Response> {
  const form = new FormData();
  form.append("file", new Blob([content]), "upload.txt");
  return fetch(address, { method: "POST", body: form });
}

describe("signed file address", () => {
  it("lets whoever has it read the file until it expires", async () => {
    await shared.sandbox.files.write("signed.txt", "signed");

    const forever = await fetch(await shared.sandbox.downloadUrl("signed.txt"));
    const limited = await fetch(
      await shared.sandbox.downloadUrl("signed.txt", { useSignatureExpiration: 60 }),
    );

    expect([forever.status, limited.status]).toEqual([200, 200]);
    expect(await forever.text()).toBe("signed");
    expect(await limited.text()).toBe("signed");
  });

  it("lets whoever has it read a file of root's", async () => {
    await shared.sandbox.files.write("/root/rooted.txt", "of root", { user: "root" });
    const address = await shared.sandbox.downloadUrl("rooted.txt", { user: "root" });

    const response = await fetch(address);

    expect(response.status).toBe(200);
    expect(await response.text()).toBe("of root");
  });

  it("is refused once it has expired", async () => {
    await shared.sandbox.files.write("expired.txt", "too late");
    const address = await shared.sandbox.downloadUrl("expired.txt", {
      useSignatureExpiration: -120,
    });

    const response = await fetch(address);

    expect(response.status).toBe(401);
    expect(await response.json()).toEqual({ code: 401, message: "signature is already expired" });
  });

  it("lets whoever has it write the file", async () => {
    const address = await shared.sandbox.uploadUrl("uploaded.txt", { useSignatureExpiration: 60 });

    const response = await upload(address, "from a form");

    expect(response.status).toBe(200);
    expect(await response.json()).toEqual([
      { name: "uploaded.txt", path: "/home/user/uploaded.txt", type: "file" },
    ]);
    expect(await shared.sandbox.files.read("uploaded.txt")).toBe("from a form");
  });

  it("lets whoever has it write a file of root's", async () => {
    const { files } = shared.sandbox;
    const address = await shared.sandbox.uploadUrl("up-rooted.txt", { user: "root" });

    const response = await upload(address, "for root");

    expect(response.status).toBe(200);
    expect(await files.read("/root/up-rooted.txt", { user: "root" })).toBe("for root");
    expect(await files.getInfo("/root/up-rooted.txt", { user: "root" })).toMatchObject({
      owner: "root",
      group: "root",
    });
  });

  it("is refused for another file, another deed or another signature", async () => {
    const address = new URL(await shared.sandbox.uploadUrl("aimed.txt"));
    const otherFile = new URL(address);
    otherFile.searchParams.set("path", "other.txt");
    const forged = new URL(address);
    forged.searchParams.set("signature", `v1_${"A".repeat(43)}`);

    expect((await upload(otherFile.href, "x")).status).toBe(401);
    expect((await upload(forged.href, "x")).status).toBe(401);
    expect((await fetch(address)).status).toBe(401);

    expect(await shared.sandbox.files.exists("other.txt")).toBe(false);
    expect(await shared.sandbox.files.exists("aimed.txt")).toBe(false);
  });

  it("does not hinder commands in the same sandbox", async () => {
    const { stdout } = await shared.sandbox.commands.run("echo secured");

    expect(stdout).toBe("secured\n");
  });
});
