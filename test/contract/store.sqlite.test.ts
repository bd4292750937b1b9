import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openSqlite } from "@soulbox/adapter-sqlite";
import { keysContract } from "./keys.contract.ts";
import { storeContract } from "./store.contract.ts";

function open() {
  const dataDir = mkdtempSync(join(tmpdir(), "soulbox-store-"));
  const sqlite = openSqlite({ dataDir });
  const other = openSqlite({ dataDir });
  const close = async () => {
    sqlite.close();
    other.close();
    rmSync(dataDir, { recursive: true });
  };
  return { sqlite, other, close };
}

storeContract("sqlite", async () => {
  const { sqlite, other, close } = open();
  return { store: sqlite.store, reopen: async () => other.store, close };
});

keysContract("sqlite", async () => {
  const { sqlite, other, close } = open();
  return { keys: sqlite.keys, reopen: async () => other.keys, close };
});
