export * from "./agent.ts";
export * from "./api.ts";
export * from "./codes.ts";
export * from "./headers.ts";
export * from "./problem.ts";
export * from "./states.ts";
