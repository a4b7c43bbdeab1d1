// The connection of a client: opened when it is needed, and opened again, after a random pause, when it is lost.

import { Connection, disconnected } from "./connection.ts";
import { GateError } from "./errors.ts";
import { jitter, pause, unless } from "./pause.ts";

/** The settings of {@link connect}. */
export interface ConnectOptions {
  /** WebSocket subprotocols to offer, such as a token. The gateway must select one of them. */
  protocols?: string[];
  /**
   * Called before each connection, as for a new token. The result replaces the address, the subprotocols or both. If it rejects, the
   * client tries again after a pause. A {@link GateError} that is not retriable, as after a logout, ends waiting commands and
   * subscriptions.
   */
  refresh?: () => Promise<{ url?: string | URL; protocols?: string[] }>;
  /** Closes the client when aborted. */
  signal?: AbortSignal;
}

/** Whether the client is connected: the `detail` of its `status` events, and {@link Gate}'s `status`. */
export type Status =
  | { readonly state: "idle" | "connecting" | "open" | "closed" }
  /** The connection was lost, or not opened. */
  | { readonly state: "disconnected"; readonly error: GateError }
  /** The next attempt follows after `retryIn` milliseconds. */
  | { readonly state: "waiting"; readonly error: GateError; readonly retryIn: number };

/** @internal One connection at a time. */
export class Connections {
  readonly #url: string | URL;
  readonly #options: ConnectOptions;
  readonly #tell: (status: Status) => void;
  readonly #end = new AbortController();
  #connection: Promise<Connection> | undefined;
  #open: Connection | undefined;
  /** Of the last connection. */
  #failure: GateError | undefined;
  /** In a row. */
  #failures = 0;

  constructor(url: string | URL, options: ConnectOptions, tell: (status: Status) => void) {
    this.#url = url;
    this.#options = options;
    this.#tell = tell;
    options.signal?.addEventListener("abort", () => this.close(), { signal: this.#end.signal });
    if (options.signal?.aborted) this.close();
  }

  /** Ends the connection for good. */
  close(): void {
    if (this.#end.signal.aborted) return;
    this.#end.abort(new GateError("the client is closed", "closed"));
    this.#tell({ state: "closed" });
  }

  /** Closes the connection, if it is open. */
  reconnect(): void {
    this.#open?.close();
  }

  /** The open connection, or the next one. */
  async next(signal: AbortSignal): Promise<Connection> {
    while (true) {
      signal.throwIfAborted();
      this.#connection ??= this.#connect();
      try {
        const connection = await unless(signal, this.#connection);
        if (connection.isOpen) return connection;
        await unless(signal, connection.lost);
      } catch (error) {
        if (!(error instanceof GateError && error.retriable) || signal.aborted) throw error;
      }
    }
  }

  /** Aborted by {@link close}, or by another signal. */
  signal(other: AbortSignal | undefined): AbortSignal {
    return other ? AbortSignal.any([this.#end.signal, other]) : this.#end.signal;
  }

  /** One attempt: after a failure, at a random time, so that clients that were disconnected together do not come back together. */
  async #connect(): Promise<Connection> {
    const { signal } = this.#end;
    try {
      if (this.#failure) {
        const retryIn = jitter(this.#failures++);
        this.#tell({ state: "waiting", error: this.#failure, retryIn });
        await pause(signal, retryIn);
      }
      this.#tell({ state: "connecting" });
      const { url = this.#url, protocols = this.#options.protocols ?? [] } = (await this.#options.refresh?.()) ?? {};
      signal.throwIfAborted();
      const connection = await Connection.open(url, protocols, signal);
      signal.throwIfAborted();
      const opened = Date.now();
      void connection.lost.then((error) => {
        // An overloaded gateway opens connections, and closes them soon.
        if (Date.now() - opened > STABLE) this.#failures = 0;
        this.#lost(error);
      });
      this.#open = connection;
      this.#tell({ state: "open" });
      return connection;
    } catch (error) {
      signal.throwIfAborted();
      const failure = error instanceof GateError ? error : disconnected(`refresh failed: ${error}`);
      this.#lost(failure);
      throw failure;
    }
  }

  #lost(error: GateError): void {
    this.#connection = this.#open = undefined;
    if (this.#end.signal.aborted) return;
    this.#failure = error;
    this.#tell({ state: "disconnected", error });
  }
}

/** Milliseconds. */
const STABLE = 10_000;
