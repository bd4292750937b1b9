import { describe, expect, it } from "vitest";
import { fieldValue, findHeadEnd, HttpFault, parseHead, requestFraming } from "./http-head.ts";

const head = (fields: string, line = "POST /a?b=c HTTP/1.1") =>
  parseHead(`${line}\r\n${fields}\r\n\r\n`);

describe("parseHead", () => {
  it("takes a request apart", () => {
    const parsed = head("Host: x\r\nX-A:  1 \r\nx-a: 2");
    expect(parsed).toMatchObject({ method: "POST", target: "/a?b=c", version: "1.1" });
    expect(parsed.fields).toEqual([
      ["Host", "x"],
      ["X-A", "1"],
      ["x-a", "2"],
    ]);
    expect(fieldValue(parsed.fields, "x-a")).toBe("1, 2");
    expect(fieldValue(parsed.fields, "x-b")).toBeUndefined();
  });

  it("refuses what could be read in two ways", () => {
    for (const fields of [
      "a : b",
      " a: b",
      "a: b\r\n c",
      "a",
      ": b",
      "a: \0",
      "a: b\rc",
      "a: b\nc: d",
    ]) {
      expect(() => head(fields), JSON.stringify(fields)).toThrow(HttpFault);
    }
    for (const line of [
      "GET /",
      "GET / HTTP/2",
      "GET  / HTTP/1.1",
      " GET / HTTP/1.1",
      "G(T / HTTP/1.1",
    ]) {
      expect(() => head("a: b", line), line).toThrow(HttpFault);
    }
  });

  it("finds the end of a head only when it is there", () => {
    expect(findHeadEnd(Buffer.from("GET / HTTP/1.1\r\n\r"))).toBe(-1);
    expect(findHeadEnd(Buffer.from("GET / HTTP/1.1\r\n\r\nbody"))).toBe(18);
  });
});

describe("requestFraming", () => {
  it("reads length and chunking", () => {
    expect(requestFraming(head("a: b"))).toEqual({ kind: "length", bytes: 0 });
    expect(requestFraming(head("content-length: 12"))).toEqual({ kind: "length", bytes: 12 });
    expect(requestFraming(head("Transfer-Encoding: Chunked"))).toEqual({ kind: "chunked" });
  });

  it("refuses contradictions and other codings", () => {
    const status = (fields: string) => {
      try {
        return requestFraming(head(fields));
      } catch (error) {
        return error instanceof HttpFault ? error.status : error;
      }
    };
    expect(status("content-length: 1\r\ntransfer-encoding: chunked")).toBe(400);
    expect(status("content-length: 1\r\ncontent-length: 1")).toBe(400);
    expect(status("content-length: +1")).toBe(400);
    expect(status("content-length: 1e3")).toBe(400);
    expect(status("content-length:")).toBe(400);
    expect(status("transfer-encoding: gzip, chunked")).toBe(501);
  });
});
