export * from "./clock.ts";
export * from "./provider.ts";
export * from "./store.ts";
