import { ControlPlaneError, quote, type Template } from "@soulbox/core";
import { ENVD_VERSION } from "@soulbox/protocol";
import type { Handler } from "hono";
import type { ApiEnv } from "../env.ts";
import type { ApiPorts } from "../ports.ts";
import { sizeView } from "./translate.ts";

/** `GET /templates` */
export function listTemplates(ports: ApiPorts): Handler<ApiEnv> {
  return (c) => c.json(ports.templates.list().map(templateView));
}

/** `GET /templates/aliases/{name}`: 404 = no such template. */
export function findAlias(ports: ApiPorts): Handler<ApiEnv, "/:name"> {
  return (c) => {
    const name = c.req.param("name");
    const template = ports.templates
      .list()
      .find((known) => known.id === name || known.names.includes(name));
    if (template === undefined) {
      throw new ControlPlaneError("not_found", `There is no template ${quote(name)}.`);
    }
    return c.json({ templateID: template.id, public: true });
  };
}

/** Built-in templates have no build of their own: dates and counts are E2B's zero values. */
function templateView(template: Template) {
  const epoch = new Date(0).toISOString();
  return {
    templateID: template.id,
    buildID: template.id,
    aliases: template.names,
    names: template.names,
    public: true,
    ...sizeView(template.resources),
    envdVersion: ENVD_VERSION,
    createdAt: epoch,
    updatedAt: epoch,
    createdBy: null,
    lastSpawnedAt: null,
    spawnCount: 0,
    buildCount: 0,
    buildStatus: "ready",
  };
}
