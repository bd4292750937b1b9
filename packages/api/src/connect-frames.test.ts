import { describe, expect, it } from "vitest";
import { decodeFrames, encodeFrame } from "./connect-frames.ts";

function streamOf(bytes: Uint8Array, step: number): ReadableStream<Uint8Array> {
  let at = 0;
  return new ReadableStream({
    pull(controller) {
      if (at >= bytes.length) return controller.close();
      controller.enqueue(bytes.subarray(at, at + step));
      at += step;
    },
  });
}

async function all(stream: ReadableStream<Uint8Array>): Promise<unknown[]> {
  const messages: unknown[] = [];
  for await (const { message } of decodeFrames(stream)) messages.push(message);
  return messages;
}

describe("Connect frames", () => {
  const messages = [{}, { a: "é😀" }, { long: "x".repeat(300) }];
  const bytes = new Uint8Array(messages.flatMap((message) => [...encodeFrame(message)]));

  it("begins with a flag of 0 and the length of the JSON, big-endian", () => {
    expect([...encodeFrame({ a: 1 }).subarray(0, 6)]).toEqual([0, 0, 0, 0, 7, 0x7b]);
  });

  it.each([1, 2, 5, 7, 100, 10_000])("come back from chunks of %i bytes", async (step) => {
    expect(await all(streamOf(bytes, step))).toEqual(messages);
  });

  it("end quietly where the stream is cut", async () => {
    expect(await all(streamOf(bytes.subarray(0, bytes.length - 1), 50))).toEqual(
      messages.slice(0, 2),
    );
  });

  it("refuse a length that nobody could hold", async () => {
    const huge = new Uint8Array([0, 0x7f, 0xff, 0xff, 0xff, 0x7b]);

    await expect(all(streamOf(huge, 10))).rejects.toThrow("too long");
  });
});
