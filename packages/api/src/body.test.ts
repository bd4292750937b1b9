import { describe, expect, it } from "vitest";
import { z } from "zod";
import { BODY_BYTES_MAX, readBody } from "./body.ts";

const Schema = z.object({ name: z.string().optional() });

function request(body: RequestInit["body"], headers: Record<string, string> = {}): Request {
  return new Request("http://x/", {
    method: "POST",
    body: body ?? null,
    headers: { "content-type": "application/json", ...headers },
    duplex: "half",
  });
}

/** A body of `count` chunks that counts how many were taken. */
function stream(count: number, taken: { chunks: number }): ReadableStream<Uint8Array> {
  return new ReadableStream({
    pull(controller) {
      if (taken.chunks++ >= count) return controller.close();
      controller.enqueue(new Uint8Array(64 * 1024).fill(0x20));
    },
  });
}

describe("readBody", () => {
  it("takes an absent and a blank body for {}", async () => {
    expect(await readBody(request(undefined), Schema)).toEqual({});
    expect(await readBody(request(" \n"), Schema)).toEqual({});
  });

  it("puts characters together that chunks cut apart", async () => {
    const bytes = new TextEncoder().encode('{"name":"hé😀"}');
    const chunks = new ReadableStream({
      start(controller) {
        for (const byte of bytes) controller.enqueue(new Uint8Array([byte]));
        controller.close();
      },
    });

    expect(await readBody(request(chunks), Schema)).toEqual({ name: "hé😀" });
  });

  it("stops reading a body that is too large and names no length", async () => {
    const taken = { chunks: 0 };

    const reading = readBody(request(stream(10_000, taken)), Schema);

    await expect(reading).rejects.toMatchObject({ code: "payload_too_large" });
    expect(taken.chunks).toBeLessThan(BODY_BYTES_MAX / (64 * 1024) + 4);
  });

  it("refuses by the announced length before it reads", async () => {
    const reading = readBody(request("{}", { "content-length": "9999999" }), Schema);

    await expect(reading).rejects.toMatchObject({ code: "payload_too_large" });
  });

  it("refuses a truncated character and a body that breaks off", async () => {
    const broken = new ReadableStream({
      pull(controller) {
        controller.error(new Error("gone"));
      },
    });

    await expect(readBody(request(new Uint8Array([0xe2, 0x82])), Schema)).rejects.toMatchObject({
      code: "invalid_request",
      detail: "The body is not UTF-8.",
    });
    await expect(readBody(request(broken), Schema)).rejects.toMatchObject({
      code: "invalid_request",
      detail: "The body could not be read to its end.",
    });
  });

  it.each(["text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""])(
    "refuses the content type %s",
    async (type) => {
      const reading = readBody(request("{}", { "content-type": type }), Schema);

      await expect(reading).rejects.toMatchObject({ hint: expect.stringContaining("json") });
    },
  );

  it("takes a charset with the content type", async () => {
    const type = { "content-type": "Application/JSON; charset=utf-8" };

    expect(await readBody(request('{"name":"a"}', type), Schema)).toEqual({ name: "a" });
  });
});
