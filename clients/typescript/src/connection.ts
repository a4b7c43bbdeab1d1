// One WebSocket: commands go out, answers come back by their sequence.

import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { addressProblem, protocolProblem } from "./address.ts";
import { GateError } from "./errors.ts";
import { PubSubReqSchema, type PubSubResp, PubSubRespSchema } from "./generated/pubsub_pb.ts";
import { clock, unless } from "./pause.ts";

/** @internal A command, as the contract names it. */
export type Command = NonNullable<MessageInitShape<typeof PubSubReqSchema>["req"]>;

/** @internal An answer to a command. */
export type Answer = PubSubResp["resp"];

/** @internal An open connection. It never opens again. */
export class Connection {
  /** Resolves when the connection is gone, with the reason. */
  readonly lost: Promise<GateError>;
  /** Resolves when the server has told its limit, or does not know the question, or the connection is gone. */
  readonly asked: Promise<void>;
  /** When the last message came, as tables store it. */
  heard = clock();
  /** The same, for this page. */
  #heard = performance.now();
  /** Whether it was closed because the client's identity expired or was revoked. */
  isLoggedOut = false;
  /** Why the login was not renewed, for the error of its end; empty if it was. */
  notRenewed = "";
  /** Whether it was closed because a {@link check} had no answer. */
  isUnanswered = false;
  readonly #socket: WebSocket;
  readonly #answers = new Map<bigint, (answer: Answer | GateError) => void>();
  #lose!: (code: number, reason: string) => void;
  #sequence = 0n;
  /** The most bytes of a message, once the server has been {@link asked}. */
  #largest: number | undefined;
  /** Whether a {@link check} has no answer yet, and how long it waits. */
  #isAsked = false;
  #within = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /**
   * Resolves with an open connection, which `signal` closes. `attempt` ends the wait for it. `expiring` is called when
   * the client's identity expires soon; without it, the end of the identity is the end of the client.
   */
  static async open(
    url: string | URL,
    protocols: string[],
    signal: AbortSignal,
    attempt: AbortSignal,
    expiring?: () => void,
  ): Promise<Connection> {
    if (typeof WebSocket === "undefined")
      throw new GateError("this runtime has no WebSocket: Node 22 or newer is needed", "protocol");
    let socket: WebSocket;
    try {
      socket = new WebSocket(url, protocols);
    } catch (error) {
      // The browser's message has the address and the subprotocols, and with them tokens.
      throw new GateError(refusal(error as Error, url, protocols), "protocol");
    }
    socket.binaryType = "arraybuffer";
    const opened = new Promise<Connection>((resolve, reject) => {
      // If the constructor throws, this rejects.
      socket.onopen = () => resolve(new Promise((open) => open(new Connection(socket, signal, expiring))));
      // Some failures have an error, and no close.
      socket.onerror = socket.onclose = () => reject(disconnected("the connection was not opened"));
    });
    try {
      return await unless(attempt, opened, OPEN_WITHIN, disconnected("the connection was not opened in time"));
    } catch (error) {
      socket.close();
      throw error;
    }
  }

  private constructor(socket: WebSocket, signal: AbortSignal, expiring?: () => void) {
    this.#socket = socket;
    socket.onmessage = ({ data }) => this.#take(data);
    const watch = setInterval(() => this.#watch(), SILENCE / 2);
    const close = () => this.close();
    signal.addEventListener("abort", close);
    this.lost = new Promise((resolve) => {
      this.#lose = (code, reason) => {
        socket.onmessage = null;
        clearInterval(watch);
        clearTimeout(this.#timer);
        signal.removeEventListener("abort", close);
        this.isLoggedOut = code === UNAUTHORIZED;
        const why = this.isLoggedOut ? this.notRenewed : "";
        const closed = `the connection was closed (${code}${reason && ` ${reason}`})${why}`;
        const isOver = this.isLoggedOut && !expiring;
        const error = isOver ? new GateError(`${closed}: log in again`, "denied") : disconnected(closed);
        for (const answered of this.#answers.values()) answered(error);
        this.#answers.clear();
        resolve(error);
      };
    });
    socket.onclose = ({ code, reason }) => this.#lose(code, reason);
    let asked!: () => void;
    this.asked = new Promise((resolve) => {
      asked = resolve;
    });
    this.send({ case: "cmdSession", value: {} }, (answer) => {
      if ("case" in answer && answer.case === "sessionExpiringResp") return expiring?.();
      // Older bridges and APISIX answer with an error.
      this.#largest = ("case" in answer && answer.case === "sessionResp" && answer.value.maxMessageBytes) || Infinity;
      asked();
    });
  }

  get isOpen(): boolean {
    return this.#socket.readyState === WebSocket.OPEN;
  }

  /**
   * Sends a command, and calls `answered` for each answer until {@link forget}, or with an error when the connection is
   * lost. A command that may be above the limit waits for it.
   */
  send(command: Command, answered?: (answer: Answer | GateError) => void): bigint {
    const sequence = ++this.#sequence;
    if (!this.isOpen) {
      if (answered) void this.lost.then(answered);
      return sequence;
    }
    const message = encode(sequence, command);
    if (answered) this.#answers.set(sequence, answered);
    if (this.#largest !== undefined || message.length <= ACCEPTED_EVERYWHERE) this.#send(sequence, message);
    else void this.asked.then(() => this.#answers.has(sequence) && this.#send(sequence, message));
    return sequence;
  }

  #send(sequence: bigint, message: Uint8Array<ArrayBuffer>): void {
    const largest = this.#largest ?? Infinity;
    if (message.length <= largest) return this.#socket.send(message);
    // The gateway would close the connection, and with it every subscription.
    const text = `the message has ${message.length} bytes: the gateway accepts at most ${largest} (max_message_bytes)`;
    const answered = this.#answers.get(sequence);
    this.forget(sequence);
    queueMicrotask(() => answered?.(new GateError(text, "too_large")));
  }

  /** Drops what else is answered to this command. */
  forget(sequence: bigint): void {
    this.#answers.delete(sequence);
  }

  /**
   * Asks whether the server is still there, and closes the connection if no answer comes within so many milliseconds. If
   * other messages come before it, the check begins anew. A check that ends sooner goes on.
   */
  check(within = PROMPT): void {
    if (this.#isAsked && within >= this.#within) return;
    this.#isAsked = true;
    this.#within = within;
    clearTimeout(this.#timer);
    const wait = () => {
      this.#timer = setTimeout(() => {
        if (!this.#isAsked) return;
        // Messages that were on their way when the network went away come first.
        if (performance.now() - this.#heard < within / 2) return wait();
        this.isUnanswered = true;
        this.close(4000, "no answer to a ping");
      }, within);
    };
    wait();
    const ping = this.send({ case: "cmdPing", value: {} }, () => {
      this.#isAsked = false;
      this.forget(ping);
    });
  }

  /** Does not wait for the server, which may be out of reach. */
  close(code = 1000, reason = ""): void {
    this.#socket.close(code, reason);
    this.#lose(code, reason);
  }

  #take(data: unknown): void {
    let message: PubSubResp;
    try {
      this.heard = clock();
      this.#heard = performance.now();
      message = fromBinary(PubSubRespSchema, new Uint8Array(data as ArrayBuffer));
    } catch {
      // Neither this message nor those behind it can be trusted.
      return this.close(4000, "expected a PubSubResp");
    }
    this.#answers.get(message.sequence)?.(message.resp);
  }

  /** A connection that broke silently looks like topics without records. In hidden pages, this runs once a minute. */
  #watch(): void {
    // The one clock stands still while the machine sleeps, the other one can be set back.
    const silent = Math.max(performance.now() - this.#heard, clock() - this.heard);
    if (silent >= SILENCE) this.check(SILENCE / 2);
  }
}

/** Why the browser refuses to try. */
function refusal(error: Error, url: string | URL, protocols: string[]): string {
  if (error.name === "SecurityError") return "a page over https: cannot open ws:, expected wss:";
  const problem = addressProblem(url);
  if (problem) return `the address is not valid: ${problem}`;
  return protocolProblem(protocols) ?? "the address or a subprotocol is not valid";
}

function encode(sequence: bigint, command: Command): Uint8Array<ArrayBuffer> {
  const message = toBinary(PubSubReqSchema, create(PubSubReqSchema, { sequence, req: command }));
  if (APISIX.has(command.case)) return message;
  // The last command counts. APISIX does not see those that it does not know, and would answer nothing.
  const request = new Uint8Array(EMPTY.length + message.length);
  request.set(EMPTY);
  request.set(message, EMPTY.length);
  return request;
}

/** @internal */
export function disconnected(message: string): GateError {
  return new GateError(message, "disconnected", { retriable: true });
}

/** After so many milliseconds without a message, a ping asks whether the server is still there. */
const SILENCE = 20_000;
/** @internal Milliseconds for a server and a network that may be gone, when a user or the network is back. */
export const PROMPT = 2000;
/** The close code of an identity that expired or was revoked. */
const UNAUTHORIZED = 3000;
/** No gateway or bridge can be configured to accept less, in bytes. */
const ACCEPTED_EVERYWHERE = 1024;
/** The commands of Apache APISIX's own pub/sub. */
const APISIX: ReadonlySet<Command["case"]> = new Set(["cmdPing", "cmdKafkaFetch", "cmdKafkaListOffset"]);
/** `cmd_empty` (31) as bytes: its generated code would cost more of them in every page. */
const EMPTY = [0xfa, 0x01, 0x00];
/** Milliseconds. */
const OPEN_WITHIN = 20_000;
