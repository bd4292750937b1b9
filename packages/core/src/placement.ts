import { ControlPlaneError } from "./errors.ts";
import { quote } from "./ids.ts";
import type { Ports } from "./ports/ports.ts";
import type { Template } from "./ports/templates.ts";
import type { Place, Resources, Sandbox, SandboxSpec } from "./sandbox.ts";
import { samePlace } from "./sandbox.ts";

/** A place that would take the sandbox, and what it would give. */
export interface Candidate {
  readonly place: Place;
  readonly resources: Resources;
}

/** A place that would not, and why. */
export interface Skipped {
  readonly place: Place;
  readonly why: "unsupported" | "building" | "unavailable" | "failed";
  /** One sentence for the caller. */
  readonly detail: string;
  readonly retryAfterMs?: number;
}

/** A decision that explains itself. */
export interface Placement {
  /** Best first. */
  readonly candidates: readonly Candidate[];
  readonly skipped: readonly Skipped[];
}

/** Where a caller wants it; absent members leave the choice to us. */
export interface Wanted {
  readonly provider?: string;
  readonly region?: string;
}

/**
 * Orders the places that fit a spec: providers in configured order, each one's regions in its own.
 * Asking also starts the preparation of a template that a provider still lacks.
 *
 * @throws invalid_request when the wanted provider or region doesn't exist; names those that do.
 */
export function placeSandbox(
  ports: Ports,
  spec: Pick<SandboxSpec, "resources" | "network">,
  template: Template,
  wanted: Wanted = {},
): Placement {
  assertKnown(ports, wanted);
  const candidates: Candidate[] = [];
  const skipped: Skipped[] = [];
  for (const provider of ports.providers) {
    if (wanted.provider !== undefined && wanted.provider !== provider.name) continue;
    const fit = provider.traits.fit(spec);
    for (const region of provider.traits.regions) {
      if (wanted.region !== undefined && wanted.region !== region) continue;
      const place = { provider: provider.name, region };
      if ("refused" in fit) {
        skipped.push({ place, why: "unsupported", detail: fit.refused });
        continue;
      }
      const preparation = provider.preparing?.prepare(template) ?? { state: "ready" };
      if (preparation.state === "ready") candidates.push({ place, resources: fit.resources });
      else skipped.push({ place, why: preparation.state, ...withoutState(preparation) });
    }
  }
  return { candidates, skipped };
}

/** The next place for a sandbox whose launch failed: the first that it has not tried. */
export function nextCandidate(ports: Ports, sandbox: Sandbox): Candidate | undefined {
  const template = ports.templates.resolve(sandbox.spec.templateId);
  const tried = [sandbox.place, ...sandbox.attempts.map((attempt) => attempt.place)];
  return placeSandbox(ports, sandbox.spec, template).candidates.find(
    (candidate) => !tried.some((place) => samePlace(place, candidate.place)),
  );
}

/** The error for a spec that no place takes: the most hopeful reason decides the code. */
export function noCandidate(template: Template, skipped: readonly Skipped[]): ControlPlaneError {
  const details = { places: skipped.map(({ place, why, detail }) => ({ ...place, why, detail })) };
  const because = (why: Skipped["why"]) => skipped.find((place) => place.why === why);
  const building = because("building");
  if (building !== undefined) {
    return new ControlPlaneError(
      "not_ready",
      `Template ${template.id} is being built: ${building.detail}`,
      { retryAfterMs: building.retryAfterMs ?? 5000, details },
    );
  }
  const away = because("unavailable");
  if (away !== undefined) {
    return new ControlPlaneError("provider_unavailable", away.detail, {
      retryAfterMs: away.retryAfterMs ?? 5000,
      details,
      hint: `Check that ${away.place.provider} runs and can be reached from the server.`,
    });
  }
  const failed = because("failed");
  if (failed !== undefined) {
    return new ControlPlaneError("provider_error", failed.detail, {
      details,
      hint: "Choose another template, or mend the reason and try again.",
    });
  }
  const unsupported = because("unsupported");
  if (unsupported !== undefined) {
    return new ControlPlaneError("unsupported", unsupported.detail, { details });
  }
  return new ControlPlaneError("capacity_unavailable", "No provider is configured.", {
    hint: "Set SOULBOX_PROVIDERS, or start a container engine and restart the server.",
  });
}

function assertKnown(ports: Ports, wanted: Wanted): void {
  const names = ports.providers.map((provider) => provider.name as string);
  if (wanted.provider !== undefined && !names.includes(wanted.provider)) {
    throw new ControlPlaneError(
      "invalid_request",
      `There is no provider ${quote(wanted.provider)} here.`,
      { hint: `Configured are: ${names.join(", ")}.` },
    );
  }
  if (wanted.region === undefined) return;
  const regions = ports.providers
    .filter((provider) => wanted.provider === undefined || provider.name === wanted.provider)
    .flatMap((provider) => provider.traits.regions);
  if (!regions.includes(wanted.region)) {
    throw new ControlPlaneError(
      "invalid_request",
      `There is no region ${quote(wanted.region)} here.`,
      { hint: `Known are: ${regions.join(", ")}.` },
    );
  }
}

function withoutState(preparation: { readonly detail: string; readonly retryAfterMs?: number }) {
  const { detail, retryAfterMs } = preparation;
  return { detail, ...(retryAfterMs !== undefined && { retryAfterMs }) };
}
