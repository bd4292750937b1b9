import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import type { Exchange } from "./exchange.ts";
import { gzipFile } from "./gzip.ts";
import { chooseCoding, parseRange } from "./http-ranges.ts";
import { shorten } from "./paths.ts";
import { errnoOf } from "./rpc-error.ts";

const READ_BYTES = 256 * 1024;

/** Answers `GET /files` with the file's content. */
export async function download(exchange: Exchange, path: string): Promise<void> {
  let file: FileHandle;
  try {
    // Non-blocking, so that opening a pipe nobody writes to does not wait for ever.
    file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    return refuseOpen(exchange, path, error);
  }
  try {
    await sendFile(exchange, path, file);
  } finally {
    await file.close();
  }
}

function refuseOpen(exchange: Exchange, path: string, error: unknown): void {
  const errno = errnoOf(error);
  if (errno === "ENOENT") {
    exchange.fail(404, `path ${shorten(path)} does not exist`);
    return;
  }
  const isPath = errno === "ENOTDIR" || errno === "ENAMETOOLONG" || errno === "ELOOP";
  const status = isPath || errno === "ENXIO" ? 400 : errno === "EACCES" ? 403 : 500;
  exchange.fail(status, `can't open ${shorten(path)}: ${String(error)}`);
}

async function sendFile(exchange: Exchange, path: string, file: FileHandle): Promise<void> {
  const stat = await file.stat();
  if (stat.isDirectory()) return exchange.fail(400, `path ${shorten(path)} is a directory`);
  if (!stat.isFile()) return exchange.fail(400, `path ${shorten(path)} is not a regular file`);
  const coding = chooseCoding(exchange.field("accept-encoding"));
  if (coding === undefined) {
    const asked = JSON.stringify(exchange.field("accept-encoding"));
    return exchange.fail(406, `accept-encoding ${asked} leaves neither identity nor gzip`);
  }
  const name = encodeURIComponent(path.slice(path.lastIndexOf("/") + 1));
  const fields: Record<string, string> = {
    "content-type": "application/octet-stream",
    "content-disposition": `inline; filename*=UTF-8''${name}`,
    "last-modified": stat.mtime.toUTCString(),
    vary: "accept-encoding",
  };
  if (coding === "gzip") {
    return gzipFile(exchange, file, { ...fields, "content-encoding": "gzip" });
  }
  // Files under /proc say that they are empty; what they hold is known when it is read.
  if (stat.size === 0) return sendUnsized(exchange, file, fields);
  const range = parseRange(exchange.field("range"), stat.size);
  if (range === "unsatisfiable") {
    const total = { "content-range": `bytes */${stat.size}`, "content-type": "application/json" };
    const message = `range ${exchange.field("range")} of ${stat.size} bytes`;
    return exchange.answer(416, total, JSON.stringify({ code: 416, message }));
  }
  fields["accept-ranges"] = "bytes";
  const { first, last } = range ?? { first: 0, last: stat.size - 1 };
  fields["content-length"] = String(last - first + 1);
  if (range !== undefined) fields["content-range"] = `bytes ${first}-${last}/${stat.size}`;
  exchange.open(range === undefined ? 200 : 206, fields);
  if (exchange.head.method === "HEAD") return exchange.end();
  await sendBytes(exchange, file, { first, count: last - first + 1 });
}

interface Span {
  readonly first: number;
  readonly count: number;
}

async function sendBytes(exchange: Exchange, file: FileHandle, span: Span): Promise<void> {
  let at = span.first;
  const end = span.first + span.count;
  // One buffer for all: a write settles when the kernel has taken all of it.
  const buffer = Buffer.allocUnsafeSlow(Math.min(READ_BYTES, span.count));
  while (at < end && !exchange.isClosed) {
    const wanted = Math.min(buffer.length, end - at);
    const { bytesRead } = await file.read(buffer, 0, wanted, at);
    // The file shrank below the length that was promised: the client must not take it for whole.
    if (bytesRead === 0) return exchange.cut();
    at += bytesRead;
    await exchange.write(buffer.subarray(0, bytesRead));
  }
  exchange.end();
}

async function sendUnsized(
  exchange: Exchange,
  file: FileHandle,
  fields: Readonly<Record<string, string>>,
): Promise<void> {
  const buffer = Buffer.allocUnsafeSlow(64 * 1024);
  for (;;) {
    const { bytesRead } = await file.read(buffer, 0, buffer.length, null);
    if (bytesRead === 0 && !exchange.isAnswered) return exchange.answer(200, fields);
    if (bytesRead === 0 || exchange.isClosed) return exchange.end();
    if (!exchange.isAnswered) exchange.open(200, fields);
    await exchange.write(buffer.subarray(0, bytesRead));
  }
}
