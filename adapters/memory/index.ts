export * from "./clock.ts";
export * from "./keys.ts";
export * from "./provider.ts";
export * from "./store.ts";
