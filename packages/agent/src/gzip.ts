import { once } from "node:events";
import type { FileHandle } from "node:fs/promises";
import type { Exchange } from "./exchange.ts";

// An import at the top would load the compressor when the agent boots, whoever imports this file:
// the bundler lifts it. It takes longer than all the rest.
const loadZlib = () => import("node:zlib");

/** Sends a file compressed. */
export async function gzipFile(
  exchange: Exchange,
  file: FileHandle,
  fields: Readonly<Record<string, string>>,
): Promise<void> {
  const { createGzip } = await loadZlib();
  exchange.open(200, fields);
  // Level 1: the wire is a local one more often than not.
  const gzip = createGzip({ level: 1 });
  exchange.onClose(() => gzip.destroy());
  const feed = async (): Promise<void> => {
    for (;;) {
      const buffer = Buffer.allocUnsafe(256 * 1024);
      const { bytesRead } = await file.read(buffer, 0, buffer.length, null);
      if (bytesRead === 0 || gzip.destroyed) break;
      if (!gzip.write(buffer.subarray(0, bytesRead))) await once(gzip, "drain");
    }
    gzip.end();
  };
  const feeding = feed().catch((error: Error) => gzip.destroy(error));
  try {
    for await (const piece of gzip) await exchange.write(piece);
    exchange.end();
  } catch {
    exchange.cut();
  }
  await feeding;
}

/**
 * Decompresses pieces as they are asked for.
 *
 * @throws the decompressor's error when the bytes are not gzip.
 */
export async function* gunzipPieces(
  next: () => Promise<Uint8Array | undefined>,
): AsyncGenerator<Uint8Array> {
  const { createGunzip } = await loadZlib();
  const gunzip = createGunzip();
  const feed = async (): Promise<void> => {
    for (let piece = await next(); piece !== undefined; piece = await next()) {
      if (gunzip.destroyed) return;
      if (!gunzip.write(piece)) await once(gunzip, "drain");
    }
    gunzip.end();
  };
  feed().catch((error: Error) => gunzip.destroy(error));
  yield* gunzip;
}
