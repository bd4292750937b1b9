import { describe, expect, it } from "vitest";
import { BodyDecoder, RequestBody } from "./http-body.ts";
import { HttpFault } from "./http-head.ts";

/** Decodes text in pieces of one size; returns the body and what is left. */
function decode(decoder: BodyDecoder, text: string, pieceBytes: number) {
  let body = "";
  let rest = Buffer.alloc(0);
  for (let at = 0; at < text.length; at += pieceBytes) {
    const input = Buffer.concat([rest, Buffer.from(text.slice(at, at + pieceBytes))]);
    const decoded = decoder.push(input);
    for (const piece of decoded.data) body += Buffer.from(piece).toString();
    rest = Buffer.from(decoded.rest);
  }
  return { body, rest: rest.toString(), done: decoder.done };
}

describe("BodyDecoder", () => {
  it("takes a body of known length and leaves what follows", () => {
    for (const size of [1, 2, 3, 100]) {
      const decoder = new BodyDecoder({ kind: "length", bytes: 5 });
      expect(decode(decoder, "helloGET", size)).toEqual({ body: "hello", rest: "GET", done: true });
    }
    expect(new BodyDecoder({ kind: "length", bytes: 0 }).done).toBe(true);
  });

  it("takes chunks apart, with extensions and trailers, in pieces of any size", () => {
    const text = "3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nt: 1\r\n\r\nGET";
    for (let size = 1; size <= text.length; size += 1) {
      const decoder = new BodyDecoder({ kind: "chunked" });
      expect(decode(decoder, text, size)).toEqual({
        body: "abc0123456789",
        rest: "GET",
        done: true,
      });
    }
  });

  it("refuses chunks that are not what they say", () => {
    for (const text of ["x\r\n", "-1\r\n", "1\r\nab\r\n", "\r\n", "1 2\r\n", "f".repeat(20)]) {
      const decoder = new BodyDecoder({ kind: "chunked" });
      const padded = text.endsWith("\r\n") ? text : text + "f".repeat(5000);
      expect(() => decoder.push(Buffer.from(padded)), text).toThrow(HttpFault);
    }
  });
});

describe("RequestBody", () => {
  it("stops the sender while too much waits, and lets it go on when it was read", async () => {
    const pauses: boolean[] = [];
    const body = new RequestBody((paused) => void pauses.push(paused));
    body.add(new Uint8Array(300_000));
    expect(pauses).toEqual([true]);
    await body.read();
    expect(pauses).toEqual([true, false]);
  });

  it("tells an end from a cut", async () => {
    const ended = new RequestBody(() => {});
    ended.add(Buffer.from("x"));
    ended.end();
    expect(await ended.readAll(10)).toEqual(Buffer.from("x"));
    const cut = new RequestBody(() => {});
    const read = cut.readAll(10);
    cut.add(Buffer.from("x"));
    cut.break();
    await expect(read).rejects.toThrow(HttpFault);
    const long = new RequestBody(() => {});
    long.add(new Uint8Array(11));
    expect(await long.readAll(10)).toBeUndefined();
  });
});
