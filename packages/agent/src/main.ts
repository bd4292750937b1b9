import { fillHosts } from "./hosts.ts";
import { libc } from "./libc.ts";
import { listen } from "./listener.ts";
import { shieldFromOom } from "./oom.ts";
import { Server } from "./server.ts";
import { readSettings } from "./settings.ts";

process.umask(0o022);
process.chdir("/");
// An end of the sandbox cuts its streams: a clean end would look like the end of the command.
process.on("SIGTERM", () => process.exit(0));
process.on("SIGINT", () => process.exit(0));

try {
  const settings = readSettings(process.env);
  const server = new Server(settings);
  listen(settings.listen, (exchange) => server.handle(exchange));
} catch (error) {
  console.error(`soulbox-agent: ${error instanceof Error ? error.message : String(error)}`);
  process.exit(1);
}
shieldFromOom();
fillHosts();
// Whoever started the agent waits for the port; what the first command needs loads behind that.
setTimeout(() => libc(), 0);
