import { readFileSync, statSync } from "node:fs";
import { RpcError } from "./rpc-error.ts";

/** A Linux user of the sandbox. */
export interface User {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  /** Home directory, absolute. */
  readonly home: string;
  readonly shell: string;
}

interface Table {
  /** Tells whether the file changed since it was read. */
  readonly stamp: string;
  readonly rows: readonly (readonly string[])[];
}

const tables = new Map<string, Table>();

/** Rows of a colon-separated file, read again when it changed; none when it is missing. */
function rowsOf(path: string): Table["rows"] {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return [];
  const stamp = `${stat.ino} ${stat.mtimeMs} ${stat.ctimeMs} ${stat.size}`;
  const known = tables.get(path);
  if (known?.stamp === stamp) return known.rows;
  const rows = readFileSync(path, "utf8")
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map((line) => line.split(":"));
  tables.set(path, { stamp, rows });
  return rows;
}

/** Reads the users and groups of one root directory. */
export class Users {
  readonly #passwd: string;
  readonly #group: string;

  /** @param etc Directory of `passwd` and `group`. Default `/etc`. */
  constructor(etc = "/etc") {
    this.#passwd = `${etc}/passwd`;
    this.#group = `${etc}/group`;
  }

  /**
   * Finds a user by name.
   *
   * @throws RpcError unauthenticated when there is none; clients test this message.
   */
  find(name: string): User {
    const row = rowsOf(this.#passwd).find((fields) => fields[0] === name);
    const [, , uid, gid, , home, shell] = row ?? [];
    if (name === "" || !/^\d+$/.test(uid ?? "") || !/^\d+$/.test(gid ?? "")) {
      throw new RpcError("unauthenticated", `invalid username: '${name}'`);
    }
    return {
      name,
      uid: Number(uid),
      gid: Number(gid),
      home: home?.startsWith("/") ? home : "/",
      shell: shell || "/bin/sh",
    };
  }

  /** Ids of the groups that list the user, without its own group. */
  supplementaryGids(user: User): number[] {
    return rowsOf(this.#group)
      .filter((fields) => fields[3]?.split(",").includes(user.name))
      .map((fields) => Number(fields[2]))
      .filter((gid) => Number.isInteger(gid) && gid !== user.gid);
  }

  /** Name of a user id, or the id as text. */
  userName(uid: number): string {
    return rowsOf(this.#passwd).find((fields) => fields[2] === String(uid))?.[0] ?? String(uid);
  }

  /** Name of a group id, or the id as text. */
  groupName(gid: number): string {
    return rowsOf(this.#group).find((fields) => fields[2] === String(gid))?.[0] ?? String(gid);
  }
}
