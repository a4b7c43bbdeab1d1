// Commands with one answer each.

import { millis } from "./check.ts";
import type { Answer, Command, Connection } from "./connection.ts";
import type { Connections } from "./connections.ts";
import { GateError } from "./errors.ts";
import type { ErrorResp } from "./generated/pubsub_pb.ts";
import type { Published } from "./message.ts";
import type { CommandOptions, WriteOptions } from "./options.ts";
import { linked, unless } from "./pause.ts";
import type { Written } from "./record.ts";

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
    const over = linked(this.#connections.signal, options.signal);
    try {
      while (true) {
        const connection = await this.#connections.next(over.signal);
        try {
          return await send(connection, command, expected, over.signal);
        } catch (error) {
          if (!(error instanceof GateError && error.reason === "disconnected" && error.retriable)) throw error;
        }
      }
    } finally {
      over.abort();
    }
  }

  /** A command that may have been executed, if the connection is lost before the answer. */
  async write<C extends Case>(
    command: Command,
    expected: C,
    { signal, timeout = WRITE_WITHIN }: WriteOptions,
  ): Promise<ValueOf<C>> {
    const over = linked(this.#connections.signal, signal);
    let isSent = false;
    const timer = setTimeout(() => {
      const { failure } = this.#connections;
      over.abort(
        isSent
          ? new GateError(`no answer within ${timeout} ms`, "unknown_outcome", { unknownOutcome: true })
          : new GateError(`not sent within ${timeout} ms: ${failure?.message ?? "not connected"}`, "disconnected", {
              retriable: true,
            }),
      );
    }, timeout);
    try {
      let connection: Connection;
      do {
        connection = await this.#connections.next(over.signal);
        // Each write waits, so that all keep their order.
        await unless(over.signal, connection.asked);
      } while (!connection.isOpen);
      isSent = true;
      return await send(connection, command, expected, over.signal);
    } catch (error) {
      const isUnanswered =
        error instanceof GateError && (UNANSWERED.has(error.reason) || error === this.#connections.failure);
      if (!(isSent && isUnanswered)) throw error;
      throw new GateError(error.message, error.reason, { retriable: error.retriable, unknownOutcome: true });
    } finally {
      clearTimeout(timer);
      over.abort();
    }
  }
}

/** @internal Sends a command, once, and resolves with its answer. */
export async function send<C extends Case>(
  connection: Connection,
  command: Command,
  expected: C,
  signal?: AbortSignal,
): Promise<ValueOf<C>> {
  let sequence = 0n;
  const answered = new Promise<Answer>((resolve, reject) => {
    sequence = connection.send(command, (answer) => (answer instanceof GateError ? reject(answer) : resolve(answer)));
  });
  try {
    const answer = await unless(signal, answered);
    if (answer.case === "errorResp") throw GateError.of(answer.value);
    if (answer.case !== expected) throw new GateError(`expected ${expected}, got ${answer.case}`, "protocol");
    return answer.value as ValueOf<C>;
  } finally {
    connection.forget(sequence);
  }
}

/** @internal The result of a command for one record, message or stream. */
export function onlyResult<R extends { error?: ErrorResp }>([result]: R[]): R {
  check(result?.error);
  if (!result) throw new GateError("expected a result", "protocol");
  return result;
}

/** @internal The results of a write, or an error if one of them is an error. */
export function allWritten<R extends { error?: ErrorResp }, W extends Written | Published>(
  count: number,
  answers: R[],
  of: (answer: R) => W,
): W[] {
  if (answers.length !== count) {
    throw new GateError(`expected ${count} results, got ${answers.length}`, "protocol", { unknownOutcome: true });
  }
  const results = answers.map((answer) => (answer.error ? GateError.of(answer.error) : of(answer)));
  const errors = results.filter((result) => result instanceof GateError);
  const [first] = errors;
  if (!first) return results as W[];
  if (count === 1) throw first;
  throw new GateError(`${errors.length} of ${count} were not acknowledged: ${first.message}`, first.reason, {
    code: first.code,
    // The same command would write the others twice.
    retriable: errors.length === count && errors.every(({ retriable }) => retriable),
    retryAfter: Math.max(...errors.map(({ retryAfter }) => retryAfter)),
    unknownOutcome: errors.some(({ unknownOutcome }) => unknownOutcome),
    traceId: first.traceId,
    producer: first.producer,
    results,
  });
}

/** @internal */
export function check(error: ErrorResp | undefined): void {
  if (error) throw GateError.of(error);
}

/** @internal The contract's timestamp of a place in a log. */
export function timestamp(at: "earliest" | "latest" | Date | `s@${string}`): bigint {
  if (typeof at !== "string") return BigInt(at.getTime());
  return BigInt(at === "earliest" ? -2 : at === "latest" ? -1 : millis(at));
}

/** The client's own reasons for which there is no answer. */
const UNANSWERED = new Set(["disconnected", "closed", "protocol"]);
/** Milliseconds: longer than `message.timeout.ms` of the bridge. */
const WRITE_WITHIN = 40_000;
