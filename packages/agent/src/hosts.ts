import { statSync, writeFileSync } from "node:fs";

const HOSTS = `127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
`;

/** Names the loopback addresses where a container without a network has an empty hosts file. */
export function fillHosts(path = "/etc/hosts"): void {
  try {
    const stat = statSync(path, { throwIfNoEntry: false });
    if (stat === undefined || stat.size === 0) writeFileSync(path, HOSTS);
  } catch {
    // A read-only root: programs that ask for "localhost" have to do without.
  }
}
