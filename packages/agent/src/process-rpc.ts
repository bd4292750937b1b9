import { answerStream, answerUnary, type EventStream, frame, timeoutMs } from "./connect.ts";
import type { Exchange } from "./exchange.ts";
import type { Exit } from "./exit-status.ts";
import { type Identity, type IdentityHolder, identityOf } from "./identity.ts";
import { buildEnv, type Command, prepareLaunch } from "./launch.ts";
import {
  type Message,
  optionalBytes,
  optionalEnum,
  optionalFlag,
  optionalObject,
  optionalText,
  optionalUint32,
  text,
  textList,
  textMap,
} from "./message.ts";
import type { RunningProcess } from "./process.ts";
import type { ProcessTable, Selector } from "./process-table.ts";
import type { TerminalSize } from "./pty.ts";
import { RpcError, toRpcError } from "./rpc-error.ts";

const SIGNALS = { SIGNAL_UNSPECIFIED: 0, SIGNAL_SIGKILL: 9, SIGNAL_SIGTERM: 15 } as const;
const KEEPALIVE = { event: { keepalive: {} } };

type Method = (exchange: Exchange) => Promise<void>;

/** The methods of `process.Process`. */
export function processMethods(
  holder: IdentityHolder,
  table: ProcessTable,
): Readonly<Record<string, Method>> {
  const unary =
    (run: (message: Message) => unknown): Method =>
    (exchange) =>
      answerUnary(exchange, run);
  return {
    Start: (exchange) =>
      answerStream(exchange, (message, stream) =>
        start({ exchange, message, stream, table, identity: identityOf(holder) }),
      ),
    Connect: (exchange) =>
      answerStream(exchange, (message, stream) => connect({ exchange, message, stream, table })),
    List: unary(() => ({ processes: table.list().map(processInfo) })),
    SendInput: unary((message) => sendInput(table.find(selectorOf(message)), message)),
    SendSignal: unary((message) => {
      const process = table.find(selectorOf(message));
      const signal = optionalEnum(message, "signal", SIGNALS) ?? 0;
      if (signal === 0) throw new RpcError("invalid_argument", "signal: SIGNAL_UNSPECIFIED");
      process.signal(signal === 9 ? "SIGKILL" : "SIGTERM");
      return {};
    }),
    Update: unary((message) => {
      const process = table.find(selectorOf(message));
      const pty = optionalObject(message, "pty");
      if (pty !== undefined) process.resize(sizeOf(pty));
      return {};
    }),
    CloseStdin: unary(async (message) => {
      await table.find(selectorOf(message)).closeInput();
      return {};
    }),
    StreamInput: (exchange) =>
      answerStream(exchange, async () => {
        throw new RpcError("unimplemented", "StreamInput; use SendInput");
      }),
  };
}

interface StreamCall {
  readonly exchange: Exchange;
  readonly message: Message;
  readonly stream: EventStream;
  readonly table: ProcessTable;
}

async function start(call: StreamCall & { readonly identity: Identity }): Promise<void> {
  const { exchange, message, stream, table, identity } = call;
  const command = commandOf(exchange, message, identity);
  const limitMs = timeoutMs(exchange);
  const pty = optionalObject(message, "pty");
  const options = {
    command,
    tag: optionalText(message, "tag"),
    stdin: pty === undefined && (optionalFlag(message, "stdin") ?? true),
    pty: pty === undefined ? undefined : sizeOf(pty),
  };
  const env = buildEnv(command.user, identity.env, command.envs);
  const launch = prepareLaunch(command, env, identity.users);
  let process: RunningProcess;
  try {
    process = table.run({ ...options, launch });
  } catch (error) {
    const failed = toRpcError(error, `can't run '${command.cmd}' as '${command.user.name}'`);
    const isBusy = failed.code === "resource_exhausted";
    throw isBusy ? failed : new RpcError("invalid_argument", failed.message, { cause: error });
  }
  await follow({
    process,
    stream,
    limitMs,
    onLimit: () => process.hasExited || process.signal("SIGKILL"),
  });
}

async function connect({ exchange, message, stream, table }: StreamCall): Promise<void> {
  const selector = selectorOf(message);
  const limitMs = timeoutMs(exchange);
  const finished = table.findFinished(selector);
  if (finished !== undefined) {
    await stream.send(frame({ event: { start: { pid: finished.pid } } }));
    await stream.send(endFrame(finished.exit));
    return;
  }
  await follow({ process: table.find(selector), stream, limitMs, onLimit: () => {} });
}

interface Following {
  readonly process: RunningProcess;
  readonly stream: EventStream;
  readonly limitMs: number | undefined;
  /** Called when the client's limit is reached, before the stream ends with deadline_exceeded. */
  readonly onLimit: () => unknown;
}

/** Streams a process's events until it ends, the client goes, or its limit is reached. */
async function follow({ process, stream, limitMs, onLimit }: Following): Promise<void> {
  const over = Promise.withResolvers<Exit | "gone" | "late">();
  void stream.send(frame({ event: { start: { pid: process.pid } } }));
  const unsubscribe = process.subscribe((bytes) => stream.send(bytes));
  stream.onClose(() => {
    unsubscribe();
    over.resolve("gone");
  });
  stream.keepAlive(KEEPALIVE);
  const startedMs = performance.now();
  // A timer holds at most 2³¹−1 ms: a longer limit is no limit within the life of a sandbox.
  const timer =
    limitMs === undefined || limitMs > 2 ** 31 - 1
      ? undefined
      : setTimeout(() => over.resolve("late"), limitMs);
  void process.ended.then(over.resolve, over.reject);
  try {
    const result = await over.promise;
    if (result === "gone") {
      // The limit is the process's own: it holds after its first client has left.
      if (timer !== undefined && limitMs !== undefined) {
        const leftMs = Math.max(0, limitMs - (performance.now() - startedMs));
        const late = setTimeout(onLimit, leftMs);
        void process.ended.finally(() => clearTimeout(late));
      }
      return;
    }
    if (result === "late") {
      onLimit();
      throw new RpcError(
        "deadline_exceeded",
        `process ${process.pid} ran longer than ${limitMs} ms`,
      );
    }
    await stream.send(endFrame(result));
  } finally {
    clearTimeout(timer);
    unsubscribe();
  }
}

function endFrame(exit: Exit): Buffer {
  return frame({ event: { end: exit } });
}

async function sendInput(process: RunningProcess, message: Message): Promise<object> {
  const input = optionalObject(message, "input") ?? {};
  const stdin = optionalBytes(input, "stdin");
  const pty = optionalBytes(input, "pty");
  const kind = pty === undefined ? "stdin" : "pty";
  if (stdin !== undefined && pty !== undefined) {
    throw new RpcError("invalid_argument", "input: both stdin and pty are given");
  }
  const bytes = stdin ?? pty;
  if (bytes === undefined) throw new RpcError("invalid_argument", "input: neither stdin nor pty");
  try {
    await process.write(bytes, kind);
  } catch (error) {
    if (error instanceof RpcError) throw error;
    const tried = `can't write ${bytes.length} bytes to process ${process.pid}`;
    throw new RpcError("internal", `${tried}: ${String(error)}`, { cause: error });
  }
  return {};
}

function commandOf(exchange: Exchange, message: Message, identity: Identity): Command {
  const user = identity.userOf(exchange.field("authorization"));
  const config = optionalObject(message, "process");
  if (config === undefined) throw new RpcError("invalid_argument", "process is missing");
  const cwd = text(config, "cwd");
  return {
    cmd: text(config, "cmd"),
    args: textList(config, "args"),
    envs: textMap(config, "envs"),
    cwd: cwd === "" ? identity.workdir(user) : identity.path(cwd, user),
    user,
  };
}

function selectorOf(message: Message): Selector {
  const selector = optionalObject(message, "process") ?? {};
  const pid = optionalUint32(selector, "pid");
  const tag = optionalText(selector, "tag");
  if (pid !== undefined && tag === undefined) return { pid };
  if (tag !== undefined && pid === undefined) return { tag };
  throw new RpcError("invalid_argument", "process: exactly one of pid and tag must be given");
}

function sizeOf(pty: Message): TerminalSize {
  const size = optionalObject(pty, "size") ?? {};
  const cols = optionalUint32(size, "cols") || 80;
  const rows = optionalUint32(size, "rows") || 24;
  if (cols <= 65535 && rows <= 65535) return { cols, rows };
  throw new RpcError("invalid_argument", `pty.size: ${cols}×${rows} is more than 65535`);
}

function processInfo({ pid, tag, command }: RunningProcess): object {
  const { cmd, args, envs, cwd } = command;
  return { config: { cmd, args, envs, cwd }, pid, ...(tag === undefined ? {} : { tag }) };
}
