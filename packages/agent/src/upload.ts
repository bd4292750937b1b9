import { posix } from "node:path";
import type { Exchange } from "./exchange.ts";
import { FileFault, FileWriter } from "./file-writer.ts";
import { gunzipPieces } from "./gzip.ts";
import type { Identity } from "./identity.ts";
import { boundaryOf, MultipartFault, MultipartParser } from "./multipart.ts";
import { shorten } from "./paths.ts";
import type { User } from "./users.ts";

/** Longest metadata key and all metadata of one file, bytes. Source: E2B's agent, envd 0.6.13. */
const METADATA_KEY_BYTES_MAX = 246;
const METADATA_BYTES_MAX = 4096;
const METADATA_PREFIX = "x-metadata-";

/** One uploaded file as E2B's clients expect it in the answer; they take no other keys. */
interface Written {
  readonly name: string;
  readonly path: string;
  readonly type: "file";
  readonly metadata?: Readonly<Record<string, string>>;
}

interface Upload {
  readonly exchange: Exchange;
  readonly identity: Identity;
  readonly user: User;
  /** Yields the body, decompressed. */
  readonly pieces: AsyncIterable<Uint8Array>;
  readonly metadata: Readonly<Record<string, string>>;
}

/** Answers `POST /files`. @throws FileFault, RpcError. */
export async function upload(exchange: Exchange, identity: Identity, user: User): Promise<void> {
  const metadata = metadataOf(exchange);
  const type = exchange.field("content-type") ?? "";
  const pieces = piecesOf(exchange);
  const call = { exchange, identity, user, pieces, metadata };
  const kind = type.split(";")[0]?.trim().toLowerCase();
  if (kind === "multipart/form-data") exchange.json(200, await takeMultipart(call, type));
  else if (kind === "application/octet-stream") exchange.json(200, await takeWhole(call));
  else {
    const wanted = "multipart/form-data or application/octet-stream";
    throw new FileFault(400, `content-type ${JSON.stringify(type)} is not ${wanted}`);
  }
}

/**
 * Metadata in the headers of an upload.
 *
 * @throws FileFault 400 for what an extended attribute can't hold.
 */
export function metadataOf(exchange: Pick<Exchange, "head">): Record<string, string> {
  const metadata: Record<string, string> = {};
  let total = 0;
  for (const [name, value] of exchange.head.fields) {
    const lower = name.toLowerCase();
    if (!lower.startsWith(METADATA_PREFIX)) continue;
    const key = lower.slice(METADATA_PREFIX.length);
    if (key === "" || key.length > METADATA_KEY_BYTES_MAX) {
      const limit = `1 to ${METADATA_KEY_BYTES_MAX} are possible`;
      throw new FileFault(400, `metadata key of ${key.length} bytes; ${limit}`);
    }
    if (!/^[\x20-\x7e]*$/.test(value)) {
      throw new FileFault(400, `metadata ${JSON.stringify(key)} is not printable ASCII`);
    }
    metadata[key] = value;
    total += key.length + value.length;
  }
  if (total <= METADATA_BYTES_MAX) return metadata;
  throw new FileFault(
    400,
    `metadata of ${total} bytes; at most ${METADATA_BYTES_MAX} are possible`,
  );
}

function piecesOf(exchange: Exchange): AsyncIterable<Uint8Array> {
  const coding = (exchange.field("content-encoding") ?? "identity").toLowerCase();
  if (coding === "gzip") {
    return gunzipPieces(() => exchange.body.read());
  }
  if (coding === "identity") return rawPieces(exchange);
  throw new FileFault(400, `content-encoding ${JSON.stringify(coding)} is not gzip`);
}

async function* rawPieces({ body }: Exchange): AsyncGenerator<Uint8Array> {
  for (let piece = await body.read(); piece !== undefined; piece = await body.read()) yield piece;
}

async function takeWhole({
  exchange,
  identity,
  user,
  pieces,
  metadata,
}: Upload): Promise<Written[]> {
  const given = exchange.parameters.get("path") ?? "";
  if (given === "") throw new FileFault(400, "the query names no path");
  const path = identity.path(given, user);
  const writer = await FileWriter.open({ path, user, metadata });
  try {
    for await (const piece of pieces) await writer.write(piece);
  } catch (error) {
    throw badEncoding(error);
  } finally {
    await writer.close();
  }
  return [written(path, metadata)];
}

async function takeMultipart(call: Upload, type: string): Promise<Written[]> {
  const boundary = boundaryOf(type);
  if (boundary === undefined) throw new FileFault(400, "the content-type names no boundary");
  const parser = new MultipartParser(boundary);
  const paths = new Set<string>();
  let writer: FileWriter | undefined;
  try {
    for await (const piece of call.pieces) {
      for (const event of parser.push(piece)) {
        if (event.kind === "data") await writer?.write(event.bytes);
        else if (event.kind === "part" && event.name === "file") {
          writer = await openPart(call, event.filename, paths);
        } else {
          await writer?.close();
          writer = undefined;
        }
      }
    }
  } catch (error) {
    if (error instanceof MultipartFault) throw new FileFault(400, error.message);
    throw badEncoding(error);
  } finally {
    await writer?.close();
  }
  if (!parser.isOver) throw new FileFault(400, "the multipart body ends before its last boundary");
  return [...paths].map((path) => written(path, call.metadata));
}

async function openPart(
  { exchange, identity, user, metadata }: Upload,
  filename: string | undefined,
  paths: Set<string>,
): Promise<FileWriter> {
  const given = exchange.parameters.get("path") || filename || "";
  if (given === "") throw new FileFault(400, "neither the query nor the part names a path");
  const path = identity.path(given, user);
  if (paths.has(path)) throw new FileFault(400, `two files for the same path ${shorten(path)}`);
  paths.add(path);
  return await FileWriter.open({ path, user, metadata });
}

function written(path: string, metadata: Readonly<Record<string, string>>): Written {
  const base = { name: posix.basename(path), path, type: "file" } as const;
  return Object.keys(metadata).length === 0 ? base : { ...base, metadata };
}

/** Makes the decompressor's complaints the client's fault. */
function badEncoding(error: unknown): unknown {
  const isZlib = error instanceof Error && "code" in error && /^Z_/.test(String(error.code));
  return isZlib ? new FileFault(400, `the body is not gzip: ${error.message}`) : error;
}
