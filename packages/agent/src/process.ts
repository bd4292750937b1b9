import { closeSync, fchownSync } from "node:fs";
import { startChild } from "./children.ts";
import { frame } from "./connect.ts";
import { describeExit, type Exit } from "./exit-status.ts";
import type { Command, Launch } from "./launch.ts";
import { closeAll, makePipe, type Pipe } from "./libc.ts";
import { type Pty, spawnPty, type TerminalSize } from "./pty.ts";
import { RpcError } from "./rpc-error.ts";

/** Receiver of a process's output frames; a promise holds the process back until it settles. */
export type Subscriber = (bytes: Uint8Array) => Promise<void> | undefined;

/** How to run a command. */
export interface RunOptions {
  readonly command: Command;
  readonly launch: Launch;
  /** Name that clients can find the process by. */
  readonly tag: string | undefined;
  /** True to leave its input open for {@link RunningProcess.write}. */
  readonly stdin: boolean;
  /** Size of the terminal to run it in; undefined for pipes. */
  readonly pty: TerminalSize | undefined;
}

/** Input waiting for a process that does not read, bytes. */
const INPUT_BYTES_MAX = 16 * 1024 * 1024;

/** A process of the sandbox, from its start to its end. */
export class RunningProcess {
  readonly pid: number;
  readonly command: Command;
  readonly tag: string | undefined;
  /** Settles when the process has ended and its output is read to the end. */
  readonly ended: Promise<Exit>;
  readonly #subscribers = new Set<Subscriber>();
  readonly #child: Bun.Subprocess;
  readonly #pty: Pty | undefined;
  #stdin: { readonly fd: number; readonly sink: Bun.FileSink } | undefined;
  #writing: Promise<void> = Promise.resolve();
  #waitingBytes = 0;
  #hasExited = false;

  /** @throws the system's error when the program can't be run. */
  constructor(options: RunOptions) {
    this.command = options.command;
    this.tag = options.tag;
    let outputs: Promise<unknown>;
    if (options.pty === undefined) {
      const { child, pipes } = spawnPiped(options);
      this.#child = child;
      if (pipes.stdin !== undefined) {
        const fd = pipes.stdin.writeFd;
        this.#stdin = { fd, sink: Bun.file(fd).writer() };
      }
      outputs = Promise.all([
        this.#pump(pipes.stdout.readFd, "stdout"),
        this.#pump(pipes.stderr.readFd, "stderr"),
      ]);
    } else {
      const publish = (bytes: Uint8Array) => this.#publish("pty", bytes);
      const { child, pty } = spawnPty(options.launch, options.pty, publish);
      this.#child = child;
      this.#pty = pty;
      outputs = pty.closed;
    }
    this.pid = this.#child.pid;
    this.ended = this.#finish(outputs);
  }

  /** Sends the output from now on to `subscriber`; returns what stops that. */
  subscribe(subscriber: Subscriber): () => void {
    this.#subscribers.add(subscriber);
    return () => this.#subscribers.delete(subscriber);
  }

  /**
   * Writes to the process's input and waits until it is in the pipe.
   *
   * @throws RpcError internal when the process has no such input; resource_exhausted when 16 MiB
   *   wait already.
   */
  write(bytes: Uint8Array, kind: "stdin" | "pty"): Promise<void> {
    if (kind === "pty") {
      if (this.#pty === undefined) throw new RpcError("internal", `process ${this.pid} has no PTY`);
      return this.#pty.write(bytes);
    }
    const stdin = this.#stdin;
    if (stdin === undefined) {
      throw new RpcError("internal", `process ${this.pid} has no open standard input`);
    }
    if (this.#waitingBytes + bytes.length > INPUT_BYTES_MAX) {
      const state = `${this.#waitingBytes} bytes wait for process ${this.pid} to read them`;
      throw new RpcError("resource_exhausted", state);
    }
    this.#waitingBytes += bytes.length;
    const written = this.#writing.then(async () => {
      try {
        if (this.#stdin !== stdin) throw new Error("its input is closed");
        stdin.sink.write(bytes);
        await stdin.sink.flush();
      } finally {
        this.#waitingBytes -= bytes.length;
      }
    });
    this.#writing = written.catch(() => {});
    return written;
  }

  /**
   * Closes the process's input after everything written to it. Harmless when it is closed.
   *
   * @throws RpcError failed_precondition for a terminal, whose input ends by Ctrl-D.
   */
  closeInput(): Promise<void> {
    if (this.#pty !== undefined) {
      const hint = "send Ctrl-D (\\x04) instead";
      throw new RpcError("failed_precondition", `process ${this.pid} has a terminal; ${hint}`);
    }
    this.#writing = this.#writing.then(() => this.#dropInput());
    return this.#writing;
  }

  /** Signals the process and all that it started in its session's group. */
  signal(signal: "SIGKILL" | "SIGTERM"): void {
    // The group lives on while one member does; its id is not given to another until then.
    try {
      process.kill(-this.pid, signal);
    } catch {
      if (!this.#hasExited) this.#child.kill(signal);
    }
  }

  /** True once the process itself has ended, though others may hold its output open. */
  get hasExited(): boolean {
    return this.#hasExited;
  }

  /** @throws RpcError failed_precondition when it runs without a terminal. */
  resize(size: TerminalSize): void {
    if (this.#pty === undefined) {
      throw new RpcError("failed_precondition", `process ${this.pid} has no terminal to resize`);
    }
    this.#pty.resize(size);
  }

  async #finish(outputs: Promise<unknown>): Promise<Exit> {
    await this.#child.exited;
    this.#hasExited = true;
    await outputs;
    // Not awaited: a process that it left behind may hold the input open without reading it.
    void this.#writing.then(() => this.#dropInput());
    return describeExit(this.#child.exitCode, this.#child.signalCode);
  }

  async #pump(fd: number, kind: "stdout" | "stderr"): Promise<void> {
    const reader = Bun.file(fd).stream().getReader();
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        await this.#publish(kind, value);
      }
    } catch (error) {
      console.error(`soulbox-agent: reading ${kind} of ${this.pid}: ${String(error)}`);
    } finally {
      closeSync(fd);
    }
  }

  /** Hands output to everybody; with nobody there it is dropped, so that nothing piles up. */
  async #publish(kind: "stdout" | "stderr" | "pty", bytes: Uint8Array): Promise<void> {
    if (this.#subscribers.size === 0) return;
    const data = {
      [kind]: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("base64"),
    };
    const event = frame({ event: { data } });
    const waits: Promise<void>[] = [];
    for (const subscriber of this.#subscribers) {
      const wait = subscriber(event);
      if (wait !== undefined) waits.push(wait);
    }
    if (waits.length > 0) await Promise.all(waits);
  }

  #dropInput(): void {
    const stdin = this.#stdin;
    if (stdin === undefined) return;
    this.#stdin = undefined;
    // The sink does not close a descriptor that it did not open.
    try {
      void Promise.resolve(stdin.sink.end()).catch(() => {});
    } catch {
      // The process is gone and did not read to the end; there is nobody left to tell.
    }
    closeAll([stdin.fd]);
  }
}

interface Pipes {
  readonly stdin: Pipe | undefined;
  readonly stdout: Pipe;
  readonly stderr: Pipe;
}

function spawnPiped({ launch, stdin }: RunOptions): {
  child: Bun.Subprocess;
  pipes: Pipes;
} {
  const made: Pipe[] = [];
  const make = (): Pipe => {
    const pipe = makePipe();
    made.push(pipe);
    return pipe;
  };
  try {
    const pipes: Pipes = { stdin: stdin ? make() : undefined, stdout: make(), stderr: make() };
    const ends = [pipes.stdin?.readFd, pipes.stdout.writeFd, pipes.stderr.writeFd];
    // Opening /dev/stdout is an open of the pipe, which asks for its owner.
    for (const fd of ends) if (fd !== undefined) fchownSync(fd, launch.owner.uid, launch.owner.gid);
    const child = startChild(() =>
      Bun.spawn(launch.argv, {
        cwd: launch.cwd,
        env: launch.env,
        ...launch.ids,
        detached: true,
        stdin: pipes.stdin?.readFd ?? "ignore",
        stdout: pipes.stdout.writeFd,
        stderr: pipes.stderr.writeFd,
      }),
    );
    closeAll(ends);
    return { child, pipes };
  } catch (error) {
    closeAll(made.flatMap((pipe) => [pipe.readFd, pipe.writeFd]));
    throw error;
  }
}
