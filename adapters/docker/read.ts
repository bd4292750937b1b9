import { epochMs, type Observation } from "@soulbox/core";
import { AGENT_PORT } from "@soulbox/protocol";
import type { ContainerInfo, ContainerInspectInfo } from "dockerode";
import { type ContainerFacts, instantOf } from "./translate.ts";

/** What the engine's inspect call says of a container. */
export function readInspect(
  info: ContainerInspectInfo,
  breach: Observation["breach"],
): ContainerFacts {
  const { State, NetworkSettings } = info;
  const port = NetworkSettings.Ports?.[`${AGENT_PORT}/tcp`]?.[0]?.HostPort;
  const words = [State.Status, `exit ${State.ExitCode}`, State.OOMKilled ? "oom" : "", State.Error];
  return {
    id: info.Id,
    state: State.Status,
    createdAtMs: instantOf(info.Created),
    startedAtMs: instantOf(State.StartedAt),
    endedAtMs: instantOf(State.FinishedAt),
    mounts: info.Mounts,
    address: Object.values(NetworkSettings.Networks)[0]?.IPAddress,
    publishedPort: port === undefined ? undefined : Number(port),
    breach,
    detail: words.filter((word) => word !== "").join(", "),
  };
}

/**
 * What the engine's list says of a container. It has no start, only the creation, which is the
 * earlier by the time of one start; and no end.
 */
export function readSummary(info: ContainerInfo, breach: Observation["breach"]): ContainerFacts {
  const ports = info.Ports ?? [];
  return {
    id: info.Id,
    state: info.State,
    createdAtMs: epochMs(info.Created * 1000),
    startedAtMs: undefined,
    endedAtMs: undefined,
    mounts: info.Mounts,
    address: Object.values(info.NetworkSettings.Networks)[0]?.IPAddress,
    publishedPort: ports.find(({ PrivatePort }) => PrivatePort === AGENT_PORT)?.PublicPort,
    breach,
    detail: info.Status,
  };
}
