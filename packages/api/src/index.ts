export { createApp } from "./app.ts";
export type { ApiPorts, ProviderInfo } from "./ports.ts";
