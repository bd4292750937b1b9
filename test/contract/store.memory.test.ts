import { memoryStore } from "@soulbox/adapter-memory";
import { storeContract } from "./store.contract.ts";

storeContract("memory", async () => ({ store: memoryStore(), close: async () => {} }));
