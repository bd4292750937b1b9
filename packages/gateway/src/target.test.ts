import { describe, expect, it } from "vitest";
import { isControlRoute } from "./control-routes.ts";
import { type Target, targetOf } from "./target.ts";

const ID = "sb00000000000000000001";
const OTHER = "sb00000000000000000002";

function read(headers: readonly (readonly [string, string])[], url = "/x"): Target {
  return targetOf({ method: "GET", url, rawHeaders: headers.flat() });
}

function statusOf(target: Target): number | undefined {
  return target.kind === "refused" ? target.refusal.status : undefined;
}

describe("targetOf", () => {
  it.each([
    ["a host name", [["Host", `3000-${ID}.example.dev`]], 3000],
    ["a host name with a port", [["Host", `3000-${ID}.sbx.localhost:8443`]], 3000],
    ["a host name in capitals", [["HOST", `3000-${ID.toUpperCase()}.Example.dev`]], 3000],
    [
      "headers on localhost",
      [
        ["Host", "localhost:8080"],
        ["E2b-Sandbox-Id", ID],
      ],
      49983,
    ],
    [
      "headers on an address",
      [
        ["Host", "[::1]:80"],
        ["e2b-sandbox-id", ID],
        ["e2b-sandbox-port", "80"],
      ],
      80,
    ],
    [
      "headers on any name",
      [
        ["Host", "soulbox"],
        ["e2b-sandbox-id", ID],
        ["e2b-sandbox-port", "65535"],
      ],
      65535,
    ],
    [
      "both, agreeing",
      [
        ["Host", `49999-${ID}.a.b`],
        ["e2b-sandbox-id", ID],
        ["e2b-sandbox-port", "49999"],
      ],
      49999,
    ],
    [
      "a host name and the id alone",
      [
        ["Host", `49999-${ID}.a.b`],
        ["e2b-sandbox-id", ID],
      ],
      49999,
    ],
  ] as const)("takes %s", (_name, headers, port) => {
    expect(read(headers)).toEqual({ kind: "sandbox", sandboxId: ID, port });
  });

  it.each([
    ["a plain host", [["Host", "api.example.dev"]], "/sandboxes"],
    ["a label without a port", [["Host", `${ID}.example.dev`]], "/"],
    ["a label with a short id", [["Host", "3000-abc.example.dev"]], "/"],
    [
      "a port header alone",
      [
        ["Host", "localhost"],
        ["e2b-sandbox-port", "80"],
      ],
      "/",
    ],
    ["/files without a signature", [["Host", "localhost"]], "/files?path=a"],
    ["a signature elsewhere", [["Host", "localhost"]], "/v1/files?signature=v1_x"],
    [
      "two hosts, none of a sandbox",
      [
        ["Host", "a"],
        ["Host", "b"],
      ],
      "/",
    ],
  ] as const)("leaves %s to the API", (_name, headers, url) => {
    expect(read(headers, url)).toEqual({ kind: "api" });
  });

  it("takes a signed file URL", () => {
    const headers = [["Host", "localhost"]] as const;

    expect(read(headers, "/files?path=a&signature=v1_x")).toEqual({ kind: "signed" });
    expect(read(headers, "/files?signature=v1_x")).toEqual({ kind: "signed" });
  });

  it.each([
    [
      "another sandbox in the header",
      [
        ["Host", `80-${ID}.d`],
        ["e2b-sandbox-id", OTHER],
      ],
    ],
    [
      "another port in the header",
      [
        ["Host", `80-${ID}.d`],
        ["e2b-sandbox-port", "81"],
      ],
    ],
    ["port 0", [["Host", `0-${ID}.d`]]],
    ["port 70000", [["Host", `70000-${ID}.d`]]],
    ["a port with leading zeros", [["Host", `080-${ID}.d`]]],
    ["a huge port", [["Host", `${"9".repeat(400)}-${ID}.d`]]],
    [
      "header port 0",
      [
        ["Host", "a"],
        ["e2b-sandbox-id", ID],
        ["e2b-sandbox-port", "0"],
      ],
    ],
    [
      "header port 70000",
      [
        ["Host", "a"],
        ["e2b-sandbox-id", ID],
        ["e2b-sandbox-port", "70000"],
      ],
    ],
    [
      "header port with a space",
      [
        ["Host", "a"],
        ["e2b-sandbox-id", ID],
        ["e2b-sandbox-port", "80 "],
      ],
    ],
    [
      "an empty header port",
      [
        ["Host", "a"],
        ["e2b-sandbox-id", ID],
        ["e2b-sandbox-port", ""],
      ],
    ],
    [
      "a hexadecimal port",
      [
        ["Host", "a"],
        ["e2b-sandbox-id", ID],
        ["e2b-sandbox-port", "0x50"],
      ],
    ],
    [
      "two header ports",
      [
        ["Host", "a"],
        ["e2b-sandbox-id", ID],
        ["e2b-sandbox-port", "80"],
        ["E2B-Sandbox-Port", "80"],
      ],
    ],
    [
      "two Host headers",
      [
        ["Host", `80-${ID}.d`],
        ["Host", "d"],
      ],
    ],
    [
      "the sandbox in a second Host",
      [
        ["Host", "d"],
        ["Host", `80-${ID}.d`],
      ],
    ],
    ["no Host", [["e2b-sandbox-id", ID]]],
    [
      "an empty Host",
      [
        ["Host", ""],
        ["e2b-sandbox-id", ID],
      ],
    ],
    ["dots in the Host", [["Host", `80-${ID}..d`]]],
    ["a path in the Host", [["Host", `80-${ID}.d/../x`]]],
    [
      "a user in the Host",
      [
        ["Host", `x@80-${ID}.d`],
        ["e2b-sandbox-id", ID],
      ],
    ],
    ["a NUL in the Host", [["Host", `80-${ID}.d\0`]]],
    ["a space in the Host", [["Host", `80-${ID}.d e`]]],
    [
      "two ids",
      [
        ["Host", "a"],
        ["e2b-sandbox-id", ID],
        ["E2B-SANDBOX-ID", ID],
      ],
    ],
    [
      "an id with a comma",
      [
        ["Host", "a"],
        ["e2b-sandbox-id", `${ID}, ${ID}`],
      ],
    ],
    [
      "an id with a path",
      [
        ["Host", "a"],
        ["e2b-sandbox-id", `../${ID}`],
      ],
    ],
    [
      "an id with a NUL",
      [
        ["Host", "a"],
        ["e2b-sandbox-id", `${ID}\0`],
      ],
    ],
    [
      "an id of 4 KB",
      [
        ["Host", "a"],
        ["e2b-sandbox-id", "a".repeat(4096)],
      ],
    ],
    [
      "an empty id",
      [
        ["Host", "a"],
        ["e2b-sandbox-id", ""],
      ],
    ],
    [
      "two lengths",
      [
        ["Host", `80-${ID}.d`],
        ["Content-Length", "1"],
        ["content-length", "1"],
      ],
    ],
    [
      "length and encoding",
      [
        ["Host", `80-${ID}.d`],
        ["Content-Length", "1"],
        ["Transfer-Encoding", "chunked"],
      ],
    ],
    [
      "another encoding",
      [
        ["Host", `80-${ID}.d`],
        ["Transfer-Encoding", "gzip, chunked"],
      ],
    ],
  ] as const)("refuses %s with 400", (_name, headers) => {
    expect(statusOf(read(headers))).toBe(400);
  });

  it.each(["http://example.dev/x", `http://80-${ID}.d/x`, "*", "/a b", "/a\0", "x"])(
    "refuses the request target %j with 400",
    (url) => {
      expect(statusOf(read([["Host", `80-${ID}.d`]], url))).toBe(400);
    },
  );

  it("claims an absolute target that names a sandbox which its Host does not", () => {
    expect(statusOf(read([["Host", "api.d"]], `http://80-${ID}.d/`))).toBe(400);
  });

  it("answers an id that can be none as not found", () => {
    const target = read([
      ["Host", "a"],
      ["e2b-sandbox-id", "nonexistent-sandbox"],
    ]);

    expect(target).toMatchObject({
      refusal: {
        status: 502,
        body: {
          sandboxId: "nonexistent-sandbox",
          message: "The sandbox was not found",
          code: 502,
        },
      },
    });
  });
});

describe("isControlRoute", () => {
  it.each([
    "/init",
    "//init",
    "/%69nit",
    "/%2569nit",
    "/init/",
    "/init?x",
    "/init#x",
    "/./init",
    "/a/../init",
    "/a/%2e%2e/init",
    "/\\init",
    "/INIT",
    "/init;x=1",
    "/init%00",
    "/init%20",
    "/%2finit",
    "/init%3fx",
    "/freeze",
    "/unfreeze",
    "/collapse",
    "/fsfreeze",
    "/fsthaw",
    "/..//fsthaw//",
  ])("knows %s", (url) => {
    expect(isControlRoute(url)).toBe(true);
  });

  it.each([
    "/",
    "/health",
    "/files?path=/init",
    "/initial",
    "/a/init",
    "/init/x",
    "/process.Process/Start",
    "/%",
    "/%zz",
  ])("lets %s pass", (url) => {
    expect(isControlRoute(url)).toBe(false);
  });
});
