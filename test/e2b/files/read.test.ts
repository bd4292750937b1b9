import { FileNotFoundError, InvalidArgumentError, NotFoundError } from "e2b";
import { describe, expect } from "vitest";
import { it, refusal, rejection, sharedSandbox } from "../fixture.ts";

const shared = sharedSandbox();

/** The two ways a file travels down. */
const DOWNLOADS = [
  { name: "plain", options: {} },
  { name: "gzip", options: { gzip: true } },
] as const;

/** Longer than one chunk of anything on the way. */
const LONG = Array.from({ length: 40_000 }, (_, line) => `line ${line}\n`).join("");

describe("files.read", () => {
  it("gives a file as text, bytes and blob", async () => {
    const { files } = shared.sandbox;
    const text = "text with é and 漢字\n";
    await files.write("formats.txt", text);

    const bytes = await files.read("formats.txt", { format: "bytes" });
    const blob = await files.read("formats.txt", { format: "blob" });

    expect(await files.read("formats.txt")).toBe(text);
    expect(await files.read("formats.txt", { format: "text" })).toBe(text);
    expect(bytes).toEqual(new TextEncoder().encode(text));
    expect(await blob.text()).toBe(text);
    expect(await files.read("/proc/version")).toMatch(/^Linux version /);
  });

  for (const { name, options } of DOWNLOADS) {
    it(`streams a long file (${name})`, async () => {
      const { files } = shared.sandbox;
      await files.write(`long-${name}.txt`, LONG);

      const stream = await files.read(`long-${name}.txt`, { ...options, format: "stream" });

      expect(await new Response(stream).text()).toBe(LONG);
    });

    it(`gives an empty file in every format (${name})`, async () => {
      const { files } = shared.sandbox;
      const path = `empty-${name}.txt`;
      await files.write(path, "");

      const blob = await files.read(path, { ...options, format: "blob" });
      const stream = await files.read(path, { ...options, format: "stream" });

      expect(await files.read(path, options)).toBe("");
      expect(await files.read(path, { ...options, format: "bytes" })).toEqual(new Uint8Array(0));
      expect(blob.size).toBe(0);
      expect(await new Response(stream).text()).toBe("");
    });

    it(`refuses to stream a file that does not exist (${name})`, async () => {
      const { files } = shared.sandbox;

      const error = await refusal(
        files.read("no-such-file.txt", { ...options, format: "stream" }),
        FileNotFoundError,
      );

      expect(error.message).toContain("/home/user/no-such-file.txt");
    });
  }

  it("refuses a file that does not exist", async () => {
    const { files } = shared.sandbox;

    const error = await refusal(files.read("no/such/file.txt"), FileNotFoundError);

    expect(error.message).toContain("/home/user/no/such/file.txt");
    await refusal(files.read("/tmp"), InvalidArgumentError);
  });

  it("lets a missing file be caught by the SDK's older class", async () => {
    const error = await rejection(shared.sandbox.files.read("no-such-file.txt"));

    expect(error).toBeInstanceOf(NotFoundError);
  });
});
