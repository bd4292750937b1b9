import { isOwnChild, shieldFromOom } from "./children.ts";
import { fillHosts } from "./hosts.ts";
import { libc } from "./libc.ts";
import { listen } from "./listener.ts";
import { reapOrphans } from "./reaper.ts";
import { Server } from "./server.ts";
import { readSettings } from "./settings.ts";

process.umask(0o022);
process.chdir("/");
// An end of the sandbox cuts its streams: a clean end would look like the end of the command.
process.on("SIGTERM", () => process.exit(0));
process.on("SIGINT", () => process.exit(0));

// What one request runs into must not end the sandbox for all others.
process.on("uncaughtException", report);
process.on("unhandledRejection", report);

try {
  const settings = readSettings(process.env);
  const server = new Server(settings);
  listen(settings.listen, (exchange) => server.handle(exchange));
} catch (error) {
  report(error);
  process.exit(1);
}
shieldFromOom();
fillHosts();
if (process.pid === 1) reapOrphans(isOwnChild);
// Whoever started the agent waits for the port; what the first command needs loads behind that.
setTimeout(() => libc(), 0);

function report(error: unknown): void {
  console.error(`soulbox-agent: ${error instanceof Error ? error.message : String(error)}`);
}
