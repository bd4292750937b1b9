import { describe, expect, it } from "vitest";
import { boundaryOf, MultipartFault, MultipartParser } from "./multipart.ts";

/** Parses text in pieces of one size; returns each part as its name, file name and content. */
function parse(text: string, pieceBytes = text.length) {
  const parser = new MultipartParser("B");
  const parts: [string, string | undefined, string][] = [];
  const bytes = Buffer.from(text, "utf8");
  for (let at = 0; at < bytes.length; at += pieceBytes) {
    for (const event of parser.push(bytes.subarray(at, at + pieceBytes))) {
      const last = parts.at(-1);
      if (event.kind === "part") parts.push([event.name, event.filename, ""]);
      else if (event.kind === "data" && last)
        last[2] += Buffer.from(event.bytes).toString("latin1");
    }
  }
  return { parts, isOver: parser.isOver };
}

const disposition = (parameters: string) => `Content-Disposition: form-data; ${parameters}\r\n`;

describe("MultipartParser", () => {
  it("gives the same parts in pieces of any size", () => {
    const text = [
      `--B\r\n${disposition('name="file"; filename="/a"')}Content-Type: x/y\r\n\r\none\r\n--not\r\n-\r\n`,
      `--B\r\n${disposition('name="file"; filename="/b"')}\r\n\r\n`,
      `--B  \r\n${disposition('name="other"')}\r\n\r\r\n\r\n`,
      "--B--\r\nepilogue",
    ].join("");
    for (let size = 1; size <= text.length; size += 1) {
      expect(parse(text, size)).toEqual({
        isOver: true,
        parts: [
          ["file", "/a", "one\r\n--not\r\n-"],
          ["file", "/b", ""],
          ["other", undefined, "\r\r\n"],
        ],
      });
    }
  });

  it("skips a preamble and knows when the body was cut", () => {
    const text = `hello\r\n--B\r\n${disposition('name="file"')}\r\nx`;
    expect(parse(text)).toEqual({ isOver: false, parts: [["file", undefined, "x"]] });
  });

  it("reads the ways in which clients write names", () => {
    const name = (parameters: string) =>
      parse(`--B\r\n${disposition(`name="file"; ${parameters}`)}\r\n\r\n--B--\r\n`).parts[0]?.[1];
    expect(name('filename="a b"')).toBe("a b");
    expect(name("filename=plain")).toBe("plain");
    expect(name('filename="q%22q"')).toBe('q"q');
    expect(name('filename="q\\"q\\\\"')).toBe('q"q\\');
    expect(name('filename="é"')).toBe("é");
    expect(name("filename*=UTF-8''%C3%A9%20x")).toBe("é x");
  });

  it("refuses heads without end and text after a boundary", () => {
    expect(() => parse(`--B\r\n${"x".repeat(40_000)}`)).toThrow(MultipartFault);
    expect(() => parse("--B junk\r\n\r\n")).toThrow(MultipartFault);
    expect(() => parse(`--B\r\n${disposition("filename*=UTF-8''%zz")}\r\n`)).toThrow(
      MultipartFault,
    );
  });
});

describe("boundaryOf", () => {
  it("reads plain and quoted boundaries", () => {
    expect(boundaryOf("multipart/form-data; boundary=abc")).toBe("abc");
    expect(boundaryOf('multipart/form-data; charset=x; boundary="a b"')).toBe("a b");
    expect(boundaryOf("multipart/form-data")).toBeUndefined();
  });
});
