import { createReadStream } from "node:fs";
import { rename, stat, unlink } from "node:fs/promises";
import { type Entry, readEntry } from "./entry.ts";
import { FileFault, FileWriter, toFileFault } from "./file-writer.ts";
import type { Identity } from "./identity.ts";
import { type Message, optionalText, text, textList } from "./message.ts";
import { shorten } from "./paths.ts";

/** Longest body of `POST /files/compose`, bytes. */
export const COMPOSE_BYTES_MAX = 4 * 1024 * 1024;

/**
 * Joins files into one and removes them: `POST /files/compose`. The destination appears at once
 * and whole, and may be one of the sources.
 *
 * @throws FileFault 404 for a missing source, 507 when the disk is full.
 */
export async function composeFiles(message: Message, identity: Identity): Promise<Entry> {
  const user = identity.user(optionalText(message, "username"));
  const given = textList(message, "source_paths");
  const target = text(message, "destination");
  if (given.length === 0) throw new FileFault(400, "source_paths is empty");
  if (target === "") throw new FileFault(400, "destination is empty");
  const sources = given.map((path) => identity.path(path, user));
  const destination = identity.path(target, user);
  if (new Set(sources).size < sources.length) throw new FileFault(400, "source_paths repeats one");
  for (const source of sources) {
    const found = await stat(source).catch((error: unknown) => {
      throw toFileFault(error, `can't read ${shorten(source)}`);
    });
    if (!found.isFile()) throw new FileFault(400, `${shorten(source)} is not a file`);
  }
  const draft = `${destination}.${crypto.randomUUID().slice(0, 8)}.part`;
  const writer = await FileWriter.open({ path: draft, user, metadata: {} });
  try {
    for (const source of sources) {
      for await (const piece of createReadStream(source, { highWaterMark: 256 * 1024 })) {
        await writer.write(piece);
      }
    }
    await rename(draft, destination);
  } catch (error) {
    await unlink(draft).catch(() => {});
    throw toFileFault(error, `can't compose ${shorten(destination)}`);
  } finally {
    await writer.close();
  }
  for (const source of sources) if (source !== destination) await unlink(source).catch(() => {});
  return readEntry(destination, identity.users);
}
