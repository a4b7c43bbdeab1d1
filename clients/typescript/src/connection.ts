// One WebSocket: commands go out, answers come back by their sequence.

import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { GateError } from "./errors.ts";
import { type PubSubResp, PubSubReqSchema, PubSubRespSchema } from "./generated/pubsub_pb.ts";

/** @internal A command, as the contract names it. */
export type Command = NonNullable<MessageInitShape<typeof PubSubReqSchema>["req"]>;

/** @internal An answer to a command. */
export type Answer = PubSubResp["resp"];

/** @internal An open connection. It never opens again. */
export class Connection {
  /** Resolves when the connection is gone, with the reason. */
  readonly lost: Promise<GateError>;
  /** Whether the server has sent anything. */
  answered = false;
  readonly #socket: WebSocket;
  readonly #answers = new Map<bigint, (answer: Answer | GateError) => void>();
  #lose!: (code: number, reason: string) => void;
  #sequence = 0n;
  #heard = Date.now();

  /** Resolves with an open connection. */
  static async open(url: string | URL, protocols: string[], signal: AbortSignal): Promise<Connection> {
    let socket: WebSocket;
    try {
      socket = new WebSocket(url, protocols);
    } catch (error) {
      throw new GateError(`${error}`, "protocol");
    }
    socket.binaryType = "arraybuffer";
    const giveUp = () => socket.close();
    signal.addEventListener("abort", giveUp);
    try {
      await new Promise<void>((resolve, reject) => {
        socket.onopen = () => resolve();
        socket.onclose = ({ code }) => reject(disconnected(`the connection was not opened (${code})`));
      });
    } finally {
      signal.removeEventListener("abort", giveUp);
    }
    return new Connection(socket);
  }

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.onmessage = ({ data }) => this.#take(data);
    const watch = setInterval(() => this.#watch(), SILENCE / 2);
    this.lost = new Promise((resolve) => {
      this.#lose = (code, reason) => {
        socket.onmessage = null;
        clearInterval(watch);
        const error = disconnected(`the connection was closed (${code}${reason && ` ${reason}`})`);
        for (const answered of this.#answers.values()) answered(error);
        this.#answers.clear();
        resolve(error);
      };
    });
    socket.onclose = ({ code, reason }) => this.#lose(code, reason);
  }

  /** Sends a command, and calls `answered` for each answer until {@link forget}, or with an error when the connection is lost. */
  send(command: Command, answered?: (answer: Answer | GateError) => void): bigint {
    const sequence = ++this.#sequence;
    if (this.#socket.readyState !== WebSocket.OPEN) {
      if (answered) void this.lost.then(answered);
      return sequence;
    }
    if (answered) this.#answers.set(sequence, answered);
    this.#socket.send(toBinary(PubSubReqSchema, create(PubSubReqSchema, { sequence, req: command })));
    return sequence;
  }

  /** Drops what else is answered to this command. */
  forget(sequence: bigint): void {
    this.#answers.delete(sequence);
  }

  /** Does not wait for the server, which may be out of reach. */
  close(code = 1000, reason = ""): void {
    this.#socket.close(code, reason);
    this.#lose(code, reason);
  }

  #take(data: unknown): void {
    this.#heard = Date.now();
    let message: PubSubResp;
    try {
      message = fromBinary(PubSubRespSchema, new Uint8Array(data as ArrayBuffer));
    } catch {
      // Neither this message nor those behind it can be trusted.
      return this.close(4000, "expected a PubSubResp");
    }
    this.answered = true;
    this.#answers.get(message.sequence)?.(message.resp);
  }

  /** A connection that broke silently looks like topics without records. */
  #watch(): void {
    const silent = Date.now() - this.#heard;
    if (silent > 2 * SILENCE) this.close(4000, "no answer to a ping");
    else if (silent > SILENCE) this.send({ case: "cmdPing", value: {} });
  }
}

/** @internal */
export function disconnected(message: string): GateError {
  return new GateError(message, "disconnected", { retriable: true });
}

/** After so many milliseconds without a message, a ping asks whether the server is still there. */
const SILENCE = 20_000;
