export { attachGateway, type Fallback, shouldUpgrade } from "./attach.ts";
export { type Connector, createConnector } from "./connect.ts";
export { createGateway, type Gateway } from "./gateway.ts";
export {
  GATEWAY_LIMITS,
  type GatewayLimits,
  type GatewayPorts,
  type Resolution,
  type Route,
} from "./ports.ts";
export { type Owner, signFileUrl } from "./signature.ts";
export type { GatewayStats } from "./stats.ts";
