// The connection of a client: opened when it is needed, and opened again, after a random pause, when it is lost.

import { addressProblem } from "./address.ts";
import { allow, callback, command, members } from "./check.ts";
import { type Answer, Connection, disconnected, PROMPT } from "./connection.ts";
import { GateError } from "./errors.ts";
import { jitter, linked, pause, unless } from "./pause.ts";
import { explain } from "./probe.ts";

/** The settings of {@link connect}. */
export interface ConnectOptions {
  /** WebSocket subprotocols to offer, such as a token. The gateway must select one of them. */
  protocols?: string[];
  /**
   * Called before each connection, as for a new token. The result replaces the address, the subprotocols or both. A
   * `token` is offered as a subprotocol. Shortly before the login expires, `refresh` is called again, and its token
   * renews the login on the open connection. If `refresh` rejects, or gives no result within 30 s, the client calls it
   * again after a pause. A result that comes later is ignored. A {@link GateError} is shown as it is, and one that is
   * not retriable, as after a logout, ends waiting commands and subscriptions. Of other errors nothing is shown, because
   * they can contain a token.
   */
  refresh?: () => Promise<Login>;
  /** Closes the client when aborted. */
  signal?: AbortSignal;
}

/** The result of `refresh` in {@link ConnectOptions}. */
export interface Login {
  /** The address of the route. */
  url?: string | URL;
  /** WebSocket subprotocols to offer. */
  protocols?: string[];
  /** A JSON Web Token, for a route whose `identity` is `token`, or whose `identity` has a `name`. */
  token?: string;
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
  /** The subprotocols of the last attempt: they can have a token. */
  offered: string[] | undefined;
  /** Called before each attempt. */
  readonly offering = new Set<() => void>();
  /** Calls of {@link reconnect}. */
  reconnects = 0;
  readonly url: string | URL;
  readonly #options: ConnectOptions;
  /** False if the application does not listen. */
  readonly #tell: (status: Status) => boolean;
  readonly #end = new AbortController();
  /** Aborted by {@link close}. */
  readonly signal = this.#end.signal;
  #connection: Promise<Connection> | undefined;
  #open: Connection | undefined;
  /** Gives up the attempt to connect. */
  #attempt: AbortController | undefined;
  /** When the attempt began. */
  #began = 0;
  /** Ends the listeners of the page's events. */
  #watching: AbortController | undefined;
  /** Whether the next attempt needs no pause. */
  #isDue = false;
  /** Ends the pause before the next attempt. */
  #resume: (() => void) | undefined;
  /** Why connections to `target` are not opened, since the last one that was. */
  #explanation: { target: string; message: string } | undefined;
  /** The running call of `refresh`: an issuer can take the second of two for a theft of the login. */
  #refreshing: Promise<Login> | undefined;
  /** Whether {@link reconnect} came during that call: its result can be the previous login. */
  #isStale = false;
  /** Stale results in a row: a `refresh` that calls {@link reconnect} itself must not spin. */
  #ignored = 0;
  /** Why no connection is opened until {@link reconnect}. */
  #over: GateError | undefined;
  /** In a row. */
  #failures = 0;
  /** What the console has said since the last connection. */
  #warned: string | undefined;

  constructor(url: string | URL, options: ConnectOptions, tell: (status: Status) => boolean) {
    // The newest part of the platform that the client uses.
    if (!AbortSignal.prototype.throwIfAborted)
      throw new GateError(`connect: this browser is too old: expected ${OLDEST}`, "protocol");
    checkAddress(url, "connect: url");
    checkOptions(options, "connect: options");
    // With `refresh`, the address can be a placeholder.
    const problem = options.refresh ? undefined : addressProblem(url);
    if (problem) throw new TypeError(`connect: url: ${problem}`);
    this.url = url;
    this.#options = options;
    this.#tell = tell;
    options.signal?.addEventListener("abort", () => this.close(), { signal: this.signal });
    if (options.signal?.aborted) this.close();
  }

  /** Ends the connection for good. */
  close(): void {
    if (this.signal.aborted) return;
    this.#end.abort(new GateError("the client is closed: expected a new one, from connect()", "closed"));
    this.#tell({ state: "closed" });
  }

  reconnect(): void {
    // The login may be a new one.
    this.#explanation = undefined;
    this.#isStale = true;
    this.offered = undefined;
    this.reconnects++;
    if (this.#over) this.failure = this.#over = undefined;
    this.#open?.close();
    this.#attempt?.abort();
    this.#resume?.();
  }

  retryNow(): void {
    this.#resume?.();
    this.#open?.check();
    // Its network may be gone.
    if (performance.now() - this.#began > PROMPT) this.#attempt?.abort();
  }

  /** The open connection, or the next one. */
  async next(signal: AbortSignal): Promise<Connection> {
    while (true) {
      signal.throwIfAborted();
      if (this.#over) throw this.#over;
      try {
        const connection = await unless(signal, this.#connection ?? this.#begin());
        if (connection.isOpen) return connection;
        await unless(signal, connection.lost);
      } catch (error) {
        if (!(error instanceof GateError && error.retriable) || signal.aborted) throw error;
      }
    }
  }

  /** Connects. Listeners of `status` can run commands: these share the attempt. */
  #begin(): Promise<Connection> {
    let begin!: (connection: Promise<Connection>) => void;
    const connection = new Promise<Connection>((resolve) => {
      begin = resolve;
    });
    this.#connection = connection;
    begin(this.#connect());
    return connection;
  }

  /**
   * One attempt: after a failure, at a random time, so that clients that were disconnected together do not come back
   * together.
   */
  async #connect(): Promise<Connection> {
    try {
      this.#watch();
      if (this.failure && !this.#isDue) await this.#wait(this.failure);
      this.#isDue = false;
      this.#tell({ state: "connecting" });
      let connection: Connection | undefined;
      while (!connection) connection = await this.#attemptToOpen();
      const opened = performance.now();
      const lost = connection.lost.then((error) => {
        // First: otherwise `next` waits for the same one again and again if something here throws.
        this.#connection = undefined;
        if (!error.retriable) {
          this.#over = error;
          this.offered = undefined;
        }
        // An overloaded gateway opens connections, and closes them soon.
        if (performance.now() - opened > STABLE) this.#failures = 0;
        // People who logged in together do not come back together.
        if (connection.isLoggedOut) this.#failures = Math.max(this.#failures, 2);
        this.#isDue = connection.isUnanswered;
        this.#lost(error);
      });
      lost.catch(() => {});
      this.#open = connection;
      this.#explanation = this.#warned = undefined;
      this.#tell({ state: "open" });
      return connection;
    } catch (error) {
      this.signal.throwIfAborted();
      // A retry would not help against what else is thrown, and could come without a pause.
      const failure =
        error instanceof GateError ? error : new GateError(`this browser has failed: ${error}`, "protocol");
      const isHeard = this.#lost(failure);
      // Other errors reject commands, and end subscriptions.
      if (!isHeard && failure.retriable && failure.message !== this.#warned) {
        this.#warned = failure.message;
        console.warn(`sluicegate: ${failure.message}`);
      }
      throw failure;
    }
  }

  /** Undefined if {@link reconnect} has given it up. */
  async #attemptToOpen(): Promise<Connection | undefined> {
    const attempt = linked(this.signal);
    const { signal } = attempt;
    this.#attempt = attempt;
    this.#began = performance.now();
    try {
      const login = await this.#refresh(signal);
      const { url = this.url } = login;
      const protocols = offered(login, this.#options.protocols);
      this.offered = protocols;
      for (const offering of this.offering) offering();
      let opened: Connection | undefined;
      const expiring = () => void (opened && this.#renew(opened).catch(() => {}));
      try {
        opened = await Connection.open(url, protocols, this.signal, signal, this.#options.refresh && expiring);
        return opened;
      } catch (error) {
        if (signal.aborted || !(error instanceof GateError && error.retriable)) throw error;
        // The plain request has no token: another one changes nothing.
        const target = JSON.stringify([url, login.protocols]);
        if (this.#explanation?.target !== target) {
          this.#explanation = { target, message: await unless(signal, explain(url, protocols, signal)) };
        }
        throw disconnected(this.#explanation.message);
      }
    } catch (error) {
      this.signal.throwIfAborted();
      if (signal.aborted) return undefined;
      throw error;
    } finally {
      this.#attempt = undefined;
      attempt.abort();
    }
  }

  /** The result of the running call of `refresh`, or of another one. */
  async #refresh(signal: AbortSignal): Promise<Login> {
    while (this.#refreshing && this.#isStale) {
      const over = this.#refreshing.catch(() => {});
      await unless(signal, over);
    }
    this.#refreshing ??= this.#call();
    return unless(signal, this.#refreshing);
  }

  /** Calls `refresh`. The result of a call that takes too long is ignored. */
  #call(): Promise<Login> {
    this.#isStale = false;
    const { refresh } = this.#options;
    const call = async () => {
      if (this.#ignored > IGNORED) await pause(this.signal, jitter(this.#ignored - IGNORED));
      try {
        return refresh ? checked(await refresh()) : {};
      } catch (error) {
        // Neither its text nor the error as a `cause`: both can have a token, and `console.error` prints causes.
        throw error instanceof GateError ? error : disconnected(REFRESH_FAILED);
      } finally {
        this.#ignored = this.#isStale ? this.#ignored + 1 : 0;
      }
    };
    return unless(this.signal, call(), REFRESH_WITHIN, disconnected(REFRESH_LATE)).finally(() => {
      this.#refreshing = undefined;
    });
  }

  /**
   * Renews the login on the open connection. If that fails, the server closes the connection when the login expires, with
   * an error that says why, and the next one has another token.
   */
  async #renew(connection: Connection): Promise<void> {
    const lost = new AbortController();
    void connection.lost.then((error) => lost.abort(error));
    for (let failures = 0; connection.isOpen; failures++) {
      try {
        const { token } = await this.#refresh(lost.signal);
        if (token === undefined) return;
        const answered = new Promise<Answer | GateError>((resolve) => {
          const sequence = connection.send({ case: "cmdAuth", value: { token } }, (answer) => {
            connection.forget(sequence);
            resolve(answer);
          });
        });
        const answer = await answered;
        if ("case" in answer && answer.case === "errorResp") throw GateError.of(answer.value);
        connection.notRenewed = "";
        return;
      } catch (error) {
        if (error instanceof GateError) {
          connection.notRenewed = `: ${error.message}`;
          if (!error.retriable) return;
        }
      }
      await pause(lost.signal, jitter(failures + 1));
    }
  }

  /** Calls {@link retryNow} when there is a network again, or a user looks at the page again, until {@link #lost}. */
  #watch(): void {
    this.#watching = linked(this.signal);
    const { signal } = this.#watching;
    const { document } = globalThis;
    const back = () => this.retryNow();
    // A worker has no document, and Node has no events.
    for (const event of ["online", "pageshow"]) globalThis.addEventListener?.(event, back, { signal });
    document?.addEventListener("visibilitychange", () => document.hidden || back(), { signal });
  }

  /** Waits for the time of the next attempt, or for {@link retryNow}. */
  async #wait(error: GateError): Promise<void> {
    const retryIn = jitter(this.#failures++);
    const over = pause(this.signal, retryIn, (resume) => {
      this.#resume = resume;
    });
    this.#tell({ state: "waiting", error, retryIn });
    await over.finally(() => {
      this.#resume = undefined;
    });
  }

  #lost(error: GateError): boolean {
    this.#connection = this.#open = undefined;
    this.#watching?.abort();
    if (this.signal.aborted) return true;
    this.failure = error;
    return this.#tell({ state: "disconnected", error });
  }
}

/** The subprotocols for a login. */
function offered({ protocols, token }: Login, usual: string[] = []): string[] {
  const all = protocols ?? usual;
  if (token === undefined) return all;
  return [...(all.length ? all : [PROTOBUF]), TOKEN_PREFIX + token];
}

/** The result of `refresh`. No error shows its values. */
function checked(login: any): Login {
  const type = Object.prototype.toString.call(login);
  const names = Object.keys(Object(login));
  if (type !== "[object Object]" || (names[0] && !names.some((name) => /^(url|protocols|token)$/.test(name))))
    throw new GateError(`refresh: expected an object with url, protocols or token, got ${type}`, "protocol");
  const { token } = login;
  if ("token" in login && !(typeof token === "string" && /^[\w.-]{1,8192}$/.test(token)))
    throw new GateError(
      `refresh: token: expected a JSON Web Token, at most 8192 characters, got ${typeof token}`,
      "protocol",
    );
  return login;
}

const checkAddress = allow(
  "the address of a route",
  (value) => value instanceof URL || (typeof value === "string" && value !== ""),
);
const protocols = allow(
  "a list of strings",
  (value) => Array.isArray(value) && value.every((protocol) => typeof protocol === "string"),
);
const checkOptions = members({ protocols, refresh: callback, ...command });

const REFRESH_FAILED =
  "refresh failed; its error is not shown, because it can contain a token: throw a GateError to say why";
/** Milliseconds. The native client gives each renewal as long. */
const REFRESH_WITHIN = 30_000;
/** Results that are ignored without a pause. */
const IGNORED = 5;
const REFRESH_LATE = `refresh gave no result within ${REFRESH_WITHIN / 1000} s`;
/** The subprotocol of this client's messages. */
const PROTOBUF = "sluicegate.v1";
const TOKEN_PREFIX = "sluicegate.token.";
/** Milliseconds. */
const STABLE = 10_000;
/** As the README and the reference name them. */
const OLDEST = "Chrome or Edge 100, Firefox 97, Safari 15.4, Node 22, or newer";
