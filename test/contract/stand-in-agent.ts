/**
 * Stands in for the agent where only its being there counts: it listens where it is told and
 * answers `GET /health` with 204 and the moment of its start. Runs on Bun.
 */
const listen = process.env.SOULBOX_LISTEN ?? "";
const startedAt = `${process.hrtime.bigint()}`;
const fetch = () => new Response(null, { status: 204, headers: { "x-started": startedAt } });

if (listen.startsWith("unix:")) Bun.serve({ unix: listen.slice("unix:".length), fetch });
else {
  const [, hostname = "0.0.0.0", port = "49983"] = listen.split(":");
  Bun.serve({ hostname, port: Number(port), fetch });
}
