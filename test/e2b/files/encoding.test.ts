import { describe, expect } from "vitest";
import { freshDirectory, it, ORIGIN, sharedSandbox } from "../fixture.ts";

const shared = sharedSandbox();
const TEXT = "packed and unpacked, é and 漢字\n".repeat(2000);

describe("gzip", () => {
  it("carries a file up and down packed", async () => {
    const { files } = shared.sandbox;
    const path = `${await freshDirectory(shared.sandbox)}/both.txt`;

    await files.write(path, TEXT, { gzip: true });

    expect(await files.read(path, { gzip: true })).toBe(TEXT);
  });

  it("stores a packed upload unpacked", async () => {
    const { files } = shared.sandbox;
    const path = `${await freshDirectory(shared.sandbox)}/up.txt`;

    await files.write(path, TEXT, { gzip: true });

    expect(await files.read(path)).toBe(TEXT);
    expect((await files.getInfo(path)).size).toBe(Buffer.byteLength(TEXT));
  });

  it("carries several files up packed", async () => {
    const { files } = shared.sandbox;
    const directory = await freshDirectory(shared.sandbox);
    const entries = ["a", "b", "c"].map((name) => ({
      path: `${directory}/${name}`,
      data: `${name}: ${TEXT}`,
    }));

    const written = await files.writeFiles(entries, { gzip: true });

    expect(written.map(({ path }) => path)).toEqual(entries.map(({ path }) => path));
    for (const { path, data } of entries) expect(await files.read(path)).toBe(data);
  });

  it("carries bytes down packed", async () => {
    const { files } = shared.sandbox;
    const path = `${await freshDirectory(shared.sandbox)}/bytes.bin`;
    const bytes = Uint8Array.from({ length: 70_000 }, (_, index) => index % 256);
    await files.write(path, bytes.buffer);

    const read = await files.read(path, { format: "bytes", gzip: true });

    expect(Buffer.from(read).equals(bytes)).toBe(true);
    const plain = await fetch(await shared.sandbox.downloadUrl(path), {
      headers: { "Accept-Encoding": "identity" },
    });
    expect(new URL(plain.url).origin).toBe(ORIGIN);
    expect(plain.headers.get("content-encoding")).toBeNull();
    expect(plain.headers.get("content-length")).toBe("70000");
    await plain.body?.cancel();
  });
});
