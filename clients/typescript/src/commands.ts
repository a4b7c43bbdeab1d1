// Commands with one answer each.

import type { Answer, Command } from "./connection.ts";
import type { Connections } from "./connections.ts";
import { GateError } from "./errors.ts";
import type { ErrorResp } from "./generated/pubsub_pb.ts";
import { unless } from "./pause.ts";

/** The settings of a command. */
export interface CommandOptions {
  /** Rejects the command with the signal's reason when aborted. An aborted write may still happen. */
  signal?: AbortSignal;
}

type Case = NonNullable<Answer["case"]>;
type ValueOf<C extends Case> = Extract<Answer, { case: C }>["value"];

/** @internal Sends commands over the connection of a client. */
export class Commands {
  readonly #connections: Connections;

  constructor(connections: Connections) {
    this.#connections = connections;
  }

  /** A command that can be repeated, if the connection is lost before the answer. */
  async read<C extends Case>(command: Command, expected: C, options: CommandOptions): Promise<ValueOf<C>> {
    while (true) {
      try {
        return await this.#send(command, expected, options, false);
      } catch (error) {
        if (!(error instanceof GateError && error.reason === "disconnected" && error.retriable)) throw error;
      }
    }
  }

  /** A command that may have been executed, if the connection is lost before the answer. */
  write<C extends Case>(command: Command, expected: C, options: CommandOptions): Promise<ValueOf<C>> {
    return this.#send(command, expected, options, true);
  }

  async #send<C extends Case>(command: Command, expected: C, options: CommandOptions, unknownOutcome: boolean): Promise<ValueOf<C>> {
    const signal = this.#connections.signal(options.signal);
    const connection = await this.#connections.next(signal);
    const failed = ({ message, reason, retriable }: GateError) => new GateError(message, reason, { retriable, unknownOutcome });
    let sequence = 0n;
    const answered = new Promise<Answer>((resolve, reject) => {
      sequence = connection.send(command, (answer) => (answer instanceof GateError ? reject(answer) : resolve(answer)));
    });
    try {
      const answer = await unless(signal, answered).catch((error: unknown) => {
        throw error instanceof GateError ? failed(error) : error;
      });
      if (answer.case === "errorResp") throw GateError.of(answer.value);
      if (answer.case !== expected) throw failed(new GateError(`expected ${expected}, got ${answer.case}`, "protocol"));
      return answer.value as ValueOf<C>;
    } finally {
      connection.forget(sequence);
    }
  }
}

/** @internal The result of a command for one record, message or stream. */
export function onlyResult<R extends { error?: ErrorResp }>([result]: R[], isWrite: boolean): R {
  check(result?.error);
  if (!result) throw new GateError("expected a result", "protocol", { unknownOutcome: isWrite });
  return result;
}

/** @internal */
export function check(error: ErrorResp | undefined): void {
  if (error) throw GateError.of(error);
}

/** @internal The contract's timestamp of a place in a log. */
export function timestamp(at: "earliest" | "latest" | Date): bigint {
  return BigInt(at === "earliest" ? -2 : at === "latest" ? -1 : at.getTime());
}
