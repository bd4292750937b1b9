import type { Sandbox } from "e2b";
import { expect, vi } from "vitest";
import { ORIGIN, towards } from "../fixture.ts";

/**
 * A server for tests, in Python's standard library alone: it answers `GET /` with what it was
 * asked, `GET /stream` with one line every tenth of a second without an end, and a WebSocket on
 * any path by echoing each short text message.
 */
const PROGRAM = `
import base64, hashlib, http.server, json, time

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.headers.get("Upgrade", "").lower() == "websocket":
            self.echo()
        elif self.path == "/stream":
            self.stream()
        else:
            self.answer(b"")

    def do_POST(self):
        self.answer(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def answer(self, body):
        told = {"method": self.command, "path": self.path, "host": self.headers.get("Host"),
                "headers": dict(self.headers), "body": body.decode()}
        data = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def stream(self):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while True:
            self.wfile.write(b"5\\r\\ntick\\n\\r\\n")
            self.wfile.flush()
            time.sleep(0.1)

    def echo(self):
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", accept)
        self.end_headers()
        self.close_connection = True
        while True:
            head = self.rfile.read(2)
            if len(head) < 2:
                return
            length = head[1] & 127
            mask = self.rfile.read(4)
            data = bytes(byte ^ mask[i % 4] for i, byte in enumerate(self.rfile.read(length)))
            self.wfile.write(bytes([head[0], length]) + data)
            self.wfile.flush()
            if head[0] & 15 == 8:
                return

http.server.ThreadingHTTPServer(("0.0.0.0", PORT), Handler).serve_forever()
`;

/** What the server tells about a request. */
export interface Told {
  readonly method: string;
  readonly path: string;
  readonly host: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** Starts the server on a port of the sandbox and waits until it answers through the gateway. */
export async function startEchoServer(sandbox: Sandbox, port: number): Promise<void> {
  const path = `/tmp/echo-${port}.py`;
  await sandbox.files.write(path, PROGRAM.replace("PORT", String(port)));
  await sandbox.commands.run(`exec python3 ${path}`, { background: true, timeoutMs: 0 });
  await vi.waitFor(
    async () => {
      const response = await fetch(ORIGIN, { headers: towards(sandbox, port) });
      await response.body?.cancel();
      expect(response.status).toBe(200);
    },
    { timeout: 10_000, interval: 100 },
  );
}
