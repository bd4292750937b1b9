import { memoryKeys, memoryStore } from "@soulbox/adapter-memory";
import { keysContract } from "./keys.contract.ts";
import { storeContract } from "./store.contract.ts";

storeContract("memory", async () => ({ store: memoryStore(), close: async () => {} }));
keysContract("memory", async () => ({ keys: memoryKeys(), close: async () => {} }));
