// The topic that an outbox sends to.

import { GateError } from "../errors.ts";
import type { Gate } from "../gate.ts";
import type { Producer } from "../options.ts";
import { linked } from "../pause.ts";
import type { NewRecord, Written } from "../record.ts";
import { identityOf } from "../table/identity.ts";

/** @internal Parts of an outbox in which messaging systems differ. */
export interface Target {
  /** The user of the token that the client offers; `undefined` if it has none. */
  readonly person: string | undefined;
  /** Resolves when the client is connected. */
  ready(signal: AbortSignal): Promise<void>;
  /**
   * For each record its partition, why it would be refused, or where a bridge that is too old has written it. Like
   * {@link write}, it rejects if nothing was sent, and sends nothing with the login of another person.
   */
  place(records: NewRecord[], person: string | undefined, signal: AbortSignal): Promise<(number | Result)[]>;
  /** The result of each record of a partition. */
  write(records: NewRecord[], producer: Producer, person: string | undefined, signal: AbortSignal): Promise<Result[]>;
}

/** @internal */
export type Result = Written | GateError;

/** @internal */
export class TopicTarget implements Target {
  readonly #gate: Gate;
  readonly #topic: string;

  constructor(gate: Gate, topic: string) {
    this.#gate = gate;
    this.#topic = topic;
  }

  get person(): string | undefined {
    return identityOf(this.#gate.connections.offered ?? []);
  }

  async ready(signal: AbortSignal): Promise<void> {
    // Numbers that wait for a connection would grow old.
    if (this.#gate.status.state !== "open") await this.#gate.ping({ signal });
  }

  async place(...[records, person, signal]: Parameters<Target["place"]>): Promise<(number | Result)[]> {
    const results = await this.#results(records.length, person, signal, (over) =>
      this.#gate.place(this.#topic, records, { signal: over }),
    );
    return results.map((result) =>
      typeof result === "object" && "offset" in result && result.offset < 0 ? result.partition : result,
    );
  }

  write(...[records, producer, person, signal]: Parameters<Target["write"]>): Promise<Result[]> {
    return this.#results(records.length, person, signal, (over) =>
      this.#gate.produce(this.#topic, records, { producer, signal: over }),
    );
  }

  async #results<R>(
    count: number,
    person: string | undefined,
    signal: AbortSignal,
    call: (signal: AbortSignal) => Promise<R[]>,
  ): Promise<(R | Result)[]> {
    const { connections } = this.#gate;
    const over = linked(signal);
    const check = () => {
      const isOther = person !== undefined && this.person !== undefined && this.person !== person;
      if (isOther) over.abort(new GateError("the login is of another user than the outbox", "closed"));
    };
    connections.offering.add(check);
    check();
    try {
      return await call(over.signal);
    } catch (error) {
      // The client can be of another bundle.
      const { reason, results, unknownOutcome } = error as GateError;
      if (results) return results as Written[];
      const isUnsent = reason === "disconnected" || reason === "closed" || error === connections.failure;
      if (reason === undefined || (isUnsent && !unknownOutcome)) throw error;
      return Array(count).fill(error);
    } finally {
      connections.offering.delete(check);
      over.abort();
    }
  }
}
