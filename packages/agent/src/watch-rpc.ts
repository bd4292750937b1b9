import { posix } from "node:path";
import { answerStream, answerUnary, type EventStream, frame, timeoutMs } from "./connect.ts";
import { readEntry } from "./entry.ts";
import type { Exchange } from "./exchange.ts";
import { type FileCall, pathOf } from "./filesystem-rpc.ts";
import { type IdentityHolder, identityOf } from "./identity.ts";
import { Inotify } from "./inotify.ts";
import { optionalFlag, text } from "./message.ts";
import { RpcError, toRpcError } from "./rpc-error.ts";
import { Watch, type WatchEvent } from "./watch.ts";

/** Watchers that wait to be asked for their events. */
const WATCHER_COUNT_MAX = 128;
/** Events that wait for a client. */
const EVENT_COUNT_MAX = 10_000;

interface Watcher {
  readonly watch: Watch;
  /** Events since the last question, as they go on the wire. */
  events: object[];
}

/** The methods of `filesystem.Filesystem` that watch. */
export function watchMethods(
  holder: IdentityHolder,
): Readonly<Record<string, (exchange: Exchange) => Promise<void>>> {
  const inotify = new Inotify();
  const watchers = new Map<string, Watcher>();
  const callOf = (exchange: Exchange, message: FileCall["message"]): FileCall => {
    const identity = identityOf(holder);
    return { identity, user: identity.userOf(exchange.field("authorization")), message };
  };
  const find = (message: FileCall["message"]): Watcher => {
    const id = text(message, "watcherId");
    const watcher = watchers.get(id);
    if (watcher !== undefined) return watcher;
    throw new RpcError("not_found", `no watcher with id ${JSON.stringify(id)}`);
  };
  return {
    WatchDir: (exchange) =>
      answerStream(exchange, (message, stream) =>
        streamEvents({
          inotify,
          call: callOf(exchange, message),
          stream,
          limitMs: timeoutMs(exchange),
        }),
      ),
    CreateWatcher: (exchange) =>
      answerUnary(exchange, (message) => {
        if (watchers.size >= WATCHER_COUNT_MAX) {
          throw new RpcError("resource_exhausted", `there are ${watchers.size} watchers already`);
        }
        const events: object[] = [];
        const watch = openWatch(inotify, callOf(exchange, message), (event) => {
          if (watcher.events.length >= EVENT_COUNT_MAX) watcher.events.shift();
          watcher.events.push(event);
        });
        const watcher: Watcher = { watch, events };
        const watcherId = crypto.randomUUID();
        watchers.set(watcherId, watcher);
        return { watcherId };
      }),
    GetWatcherEvents: (exchange) =>
      answerUnary(exchange, (message) => {
        const watcher = find(message);
        const { events } = watcher;
        watcher.events = [];
        return { events };
      }),
    RemoveWatcher: (exchange) =>
      answerUnary(exchange, (message) => {
        find(message).watch.close();
        watchers.delete(text(message, "watcherId"));
        return {};
      }),
  };
}

/** Watches what a request asks for; `emit` takes events as they go on the wire. */
function openWatch(inotify: Inotify, call: FileCall, emit: (event: object) => void): Watch {
  const root = pathOf(call, "path");
  const options = {
    root,
    recursive: optionalFlag(call.message, "recursive") ?? false,
    allowNetworkMounts: optionalFlag(call.message, "allowNetworkMounts") ?? false,
  };
  const includeEntry = optionalFlag(call.message, "includeEntry") ?? false;
  try {
    return new Watch(inotify, options, (event) => {
      emit(includeEntry ? { ...event, ...entryOf(root, event, call) } : event);
    });
  } catch (error) {
    throw toRpcError(error, "can't watch");
  }
}

/** Entry of what an event is about, while it exists. */
function entryOf(root: string, { type, name }: WatchEvent, call: FileCall): object {
  if (type === "EVENT_TYPE_REMOVE" || type === "EVENT_TYPE_RENAME") return {};
  try {
    return { entry: readEntry(posix.join(root, name), call.identity.users) };
  } catch {
    return {};
  }
}

interface StreamOptions {
  readonly inotify: Inotify;
  readonly call: FileCall;
  readonly stream: EventStream;
  readonly limitMs: number | undefined;
}

/** Streams events until the client goes or its limit is reached. */
async function streamEvents({ inotify, call, stream, limitMs }: StreamOptions): Promise<void> {
  const over = Promise.withResolvers<void>();
  const waiting: object[] = [];
  let isSending = false;
  const send = async (): Promise<void> => {
    if (isSending) return;
    isSending = true;
    for (let event = waiting.shift(); event !== undefined; event = waiting.shift()) {
      await stream.send(frame({ filesystem: event }));
    }
    isSending = false;
  };
  const watch = openWatch(inotify, call, (event) => {
    if (waiting.length < EVENT_COUNT_MAX) waiting.push(event);
    else over.reject(new RpcError("resource_exhausted", `${EVENT_COUNT_MAX} events wait unread`));
    void send();
  });
  const isLimited = limitMs !== undefined && limitMs < 2 ** 31;
  const late = new RpcError("deadline_exceeded", `watched for ${limitMs} ms`);
  const timer = isLimited ? setTimeout(() => over.reject(late), limitMs) : undefined;
  try {
    void stream.send(frame({ start: {} }));
    stream.keepAlive({ keepalive: {} });
    stream.onClose(over.resolve);
    await over.promise;
  } finally {
    clearTimeout(timer);
    watch.close();
  }
}
