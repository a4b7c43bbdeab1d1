// The connection of a client: opened when it is needed, and opened again, after a random pause, when it is lost.

import { addressProblem } from "./address.ts";
import { allow, callback, command, members } from "./check.ts";
import { Connection, disconnected } from "./connection.ts";
import { GateError } from "./errors.ts";
import { jitter, pause, unless } from "./pause.ts";
import { explain } from "./probe.ts";

/** The settings of {@link connect}. */
export interface ConnectOptions {
  /** WebSocket subprotocols to offer, such as a token. The gateway must select one of them. */
  protocols?: string[];
  /**
   * Called before each connection, as for a new token. The result replaces the address, the subprotocols or both. If it
   * rejects, the client tries again after a pause. A {@link GateError} is shown as it is, and one that is not
   * retriable, as after a logout, ends waiting commands and subscriptions. Of other errors nothing is shown, because
   * they can contain a token.
   */
  refresh?: () => Promise<{ url?: string | URL; protocols?: string[] }>;
  /** Closes the client when aborted. */
  signal?: AbortSignal;
}

/** Whether the client is connected: the `detail` of its `status` events, and {@link Gate}'s `status`. */
export type Status =
  | {
      readonly state: "idle" | "connecting" | "open" | "closed";
      readonly error?: undefined;
      readonly retryIn?: undefined;
    }
  /** The connection was lost, or not opened. */
  | { readonly state: "disconnected"; readonly error: GateError; readonly retryIn?: undefined }
  /** The next attempt follows after `retryIn` milliseconds. */
  | { readonly state: "waiting"; readonly error: GateError; readonly retryIn: number };

/** @internal One connection at a time. */
export class Connections {
  /** Of the last connection. */
  failure: GateError | undefined;
  readonly #url: string | URL;
  readonly #options: ConnectOptions;
  readonly #tell: (status: Status) => void;
  readonly #end = new AbortController();
  #connection: Promise<Connection> | undefined;
  #open: Connection | undefined;
  /** Gives up the attempt to connect. */
  #attempt: AbortController | undefined;
  /** Ends the pause before the next attempt. */
  #resume: (() => void) | undefined;
  /** Why connections to `target` are not opened, since the last one that was. */
  #explanation: { target: string; message: string } | undefined;
  /** In a row. */
  #failures = 0;

  constructor(url: string | URL, options: ConnectOptions, tell: (status: Status) => void) {
    checkAddress(url, "connect: url");
    checkOptions(typeof options === "string" ? "a string" : options, "connect: options");
    // With `refresh`, the address can be a placeholder.
    const problem = options.refresh ? undefined : addressProblem(url);
    if (problem) throw new TypeError(`connect: url: ${problem}`);
    this.#url = url;
    this.#options = options;
    this.#tell = tell;
    options.signal?.addEventListener("abort", () => this.close(), { signal: this.#end.signal });
    if (options.signal?.aborted) this.close();
  }

  /** Ends the connection for good. */
  close(): void {
    if (this.#end.signal.aborted) return;
    this.#end.abort(new GateError("the client is closed: expected a new one, from connect()", "closed"));
    this.#tell({ state: "closed" });
  }

  reconnect(): void {
    // The login may be a new one.
    this.#explanation = undefined;
    this.#open?.close();
    this.#attempt?.abort();
    this.retryNow();
  }

  retryNow(): void {
    this.#resume?.();
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
  signal(other?: AbortSignal): AbortSignal {
    return other ? AbortSignal.any([this.#end.signal, other]) : this.#end.signal;
  }

  /**
   * One attempt: after a failure, at a random time, so that clients that were disconnected together do not come back
   * together.
   */
  async #connect(): Promise<Connection> {
    const { signal } = this.#end;
    try {
      if (this.failure) await this.#wait(this.failure);
      this.#tell({ state: "connecting" });
      let connection: Connection | undefined;
      while (!connection) connection = await this.#attemptToOpen();
      const opened = Date.now();
      void connection.lost.then((error) => {
        // An overloaded gateway opens connections, and closes them soon.
        if (Date.now() - opened > STABLE) this.#failures = 0;
        this.#lost(error);
      });
      this.#open = connection;
      this.#explanation = undefined;
      this.#tell({ state: "open" });
      return connection;
    } catch (error) {
      signal.throwIfAborted();
      // Neither its text nor the error as a `cause`: both can have a token, and `console.error` prints causes.
      const failure = error instanceof GateError ? error : disconnected(REFRESH_FAILED);
      this.#lost(failure);
      throw failure;
    }
  }

  /** Undefined if {@link reconnect} has given it up. */
  async #attemptToOpen(): Promise<Connection | undefined> {
    const { signal } = this.#end;
    const attempt = new AbortController();
    this.#attempt = attempt;
    const either = AbortSignal.any([signal, attempt.signal]);
    try {
      const { url = this.#url, protocols = this.#options.protocols ?? [] } =
        (await unless(either, Promise.resolve(this.#options.refresh?.()))) ?? {};
      try {
        return await Connection.open(url, protocols, signal, either);
      } catch (error) {
        if (either.aborted || !(error instanceof GateError && error.retriable)) throw error;
        const target = JSON.stringify([url, protocols]);
        if (this.#explanation?.target !== target) {
          this.#explanation = { target, message: await unless(either, explain(url, protocols, either)) };
        }
        throw disconnected(this.#explanation.message);
      }
    } catch (error) {
      signal.throwIfAborted();
      if (attempt.signal.aborted) return undefined;
      throw error;
    } finally {
      this.#attempt = undefined;
    }
  }

  /**
   * Waits for the time of the next attempt, for {@link retryNow}, for a network, or for a user to look at the page
   * again.
   */
  async #wait(error: GateError): Promise<void> {
    const retryIn = jitter(this.#failures++);
    const over = new AbortController();
    const { document } = globalThis;
    const resume = () => over.abort();
    this.#resume = resume;
    // A worker has no document, and Node has no events.
    globalThis.addEventListener?.("online", resume, { signal: over.signal });
    document?.addEventListener("visibilitychange", () => document.hidden || resume(), { signal: over.signal });
    this.#tell({ state: "waiting", error, retryIn });
    try {
      await pause(this.signal(over.signal), retryIn).catch(() => {});
      this.#end.signal.throwIfAborted();
    } finally {
      resume();
      this.#resume = undefined;
    }
  }

  #lost(error: GateError): void {
    this.#connection = this.#open = undefined;
    if (this.#end.signal.aborted) return;
    this.failure = error;
    this.#tell({ state: "disconnected", error });
  }
}

// They can have tokens: no error shows them.
const checkAddress = allow(
  "the address of a route",
  (value) => value instanceof URL || (typeof value === "string" && value !== ""),
);
const checkOptions = members({ protocols, refresh: callback, ...command });

function protocols(value: unknown, at: string): void {
  const isList = Array.isArray(value) && value.every((protocol) => typeof protocol === "string");
  if (!isList) throw new TypeError(`${at}: expected a list of strings`);
}

const REFRESH_FAILED =
  "refresh failed; its error is not shown, because it can contain a token: throw a GateError to say why";
/** Milliseconds. */
const STABLE = 10_000;
