// Topics that are read as records are written: a loop takes each record once, in order, however often the connection is lost.

import type { Command, Connection } from "./connection.ts";
import { cost } from "./cost.ts";
import { GateError } from "./errors.ts";
import type { Gate } from "./gate.ts";
import type { KafkaDeliveryResp, SubscribedTopic } from "./generated/pubsub_pb.ts";
import { jitter, pause } from "./pause.ts";
import type { Positions, PositionStore } from "./positions.ts";
import { type Content, encode, type Record, record } from "./record.ts";

/** The settings of {@link Gate.subscribe}. */
export interface SubscribeOptions {
  /** Where to begin: at the start or end of the logs, at an offset, or with the first record at or after a time. By default `latest`. */
  from?: "earliest" | "latest" | number | Date;
  /** Only these partitions of each topic. By default all, including those added later. */
  partitions?: number[];
  /** Only records that match every filter; at most 16. */
  filters?: Filter[];
  /** If the loop falls behind, `wait` delivers every record later, and `skip` jumps to the end, for live views. By default `wait`. */
  onLag?: "wait" | "skip";
  /** Leaves out records of open or aborted transactions. By default `false`. */
  committed?: boolean;
  /** Bytes of records that can wait for the loop, plus one record. By default 256 KiB. */
  window?: number;
  /** Keeps positions, so that a reloaded page continues where it was. They override `from`. */
  positions?: PositionStore;
  /** Called for each event between the records. */
  onEvent?: (event: SubscriptionEvent) => void;
  /** Ends the loop when aborted. */
  signal?: AbortSignal;
}

/** Matches records by their key, or by a header. Without `equals` and `prefixes`, it matches any value but null. */
export interface Filter {
  /** The header's name. By default the key is matched. */
  header?: string;
  /** Values to match exactly. */
  equals?: Content[];
  /** Beginnings of values to match. */
  prefixes?: Content[];
}

/** An event of a subscription. */
export type SubscriptionEvent =
  /** The loop has taken all records of the partition. */
  | { readonly type: "caughtUp"; readonly topic: string; readonly partition: number }
  /** The records `from` up to, but not including, `to` are not delivered: they were deleted, or `onLag` is `skip`. */
  | { readonly type: "skipped"; readonly topic: string; readonly partition: number; readonly from: number; readonly to: number }
  /** Kafka cannot be read at the moment. The subscription continues by itself. */
  | { readonly type: "retrying"; readonly topic: string; readonly partition: number; readonly error: GateError };

/** What waits for the loop: a delivery, or an event behind it. */
type Waiting = { delivery: KafkaDeliveryResp; taken: number } | { event: SubscriptionEvent; next: bigint | undefined };

/** Records to loop over, once: `for await (const record of gate.subscribe("orders"))`. */
export class Subscription implements AsyncIterableIterator<Record> {
  readonly #gate: Gate;
  readonly #topics: string[];
  readonly #options: SubscribeOptions;
  readonly #window: number;
  readonly #end = new AbortController();
  readonly #signal: AbortSignal;
  readonly #waiting: Waiting[] = [];
  /** Where the server continues: behind what waits. */
  #received: Positions = {};
  /** Where the loop is. */
  #taken: Positions = {};
  #running = false;
  #saving: ReturnType<typeof setTimeout> | undefined;
  #error: unknown;
  #wake: (() => void) | undefined;
  /** Bytes that the loop has taken since the last grant. */
  #ungranted = 0;
  #grant: ((bytes: number) => void) | undefined;

  /** @internal */
  constructor(gate: Gate, topics: string[], options: SubscribeOptions) {
    this.#gate = gate;
    this.#topics = topics;
    this.#options = options;
    this.#window = options.window ?? WINDOW;
    this.#signal = AbortSignal.any([gate.signal(options.signal), this.#end.signal]);
  }

  /** The positions behind the records that the loop has processed. */
  get positions(): Positions {
    return structuredClone(this.#taken);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /**
   * Resolves with the next record. The one before it counts as processed.
   *
   * @throws GateError if the subscription ends for a reason that a retry cannot help.
   */
  async next(): Promise<IteratorResult<Record, undefined>> {
    if (!this.#running) {
      this.#running = true;
      this.#run().catch((error: unknown) => {
        this.#error = error;
        this.#wake?.();
      });
    }
    while (true) {
      const waiting = this.#waiting[0];
      if (waiting && "event" in waiting) {
        this.#waiting.shift();
        const { event, next } = waiting;
        move(this.#taken, event.topic, event.partition, next);
        this.#save();
        this.#options.onEvent?.(event);
      } else if (waiting) {
        const { topic, partition, messages, nextOffset } = waiting.delivery;
        const before = messages[waiting.taken - 1];
        if (before) this.#done(cost(before));
        const message = messages[waiting.taken++];
        move(this.#taken, topic, partition, message?.offset ?? nextOffset);
        this.#save();
        if (message) return { done: false, value: record(topic, partition, message) };
        this.#waiting.shift();
      } else if (this.#error !== undefined) {
        const isOver = this.#signal.aborted;
        const done = await this.return();
        if (isOver) return done;
        throw this.#error;
      } else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }

  /** Ends the subscription, as `break` does. */
  async return(): Promise<IteratorResult<Record, undefined>> {
    this.#end.abort();
    this.#waiting.length = 0;
    if (this.#saving !== undefined) {
      clearTimeout(this.#saving);
      await this.#options.positions?.save(this.positions);
    }
    return { done: true, value: undefined };
  }

  /** Subscribes, again and again, until it fails for good. */
  async #run(): Promise<never> {
    this.#taken = (await this.#options.positions?.load()) ?? {};
    this.#received = structuredClone(this.#taken);
    for (let failures = 0; ; ) {
      const connection = await this.#gate.connection(this.#signal);
      const error = await this.#subscribe(connection, () => {
        failures = 0;
      });
      this.#signal.throwIfAborted();
      if (!error.retriable) throw error;
      if (error.reason === "disconnected") continue;
      await pause(this.#signal, error.retryAfter + jitter(failures++));
    }
  }

  /** Subscribes from where the last subscription ended, and resolves when this one has. */
  #subscribe(connection: Connection, progress: () => void): Promise<GateError> {
    return new Promise((resolve) => {
      // What waits for the loop has used a part of the window.
      const used = this.#waiting.reduce((sum, waiting) => sum + size(waiting), 0);
      this.#ungranted = 0;
      const subscription = connection.send(this.#command(Math.max(0, this.#window - used)), (answer) => {
        if (answer instanceof GateError) return end(answer);
        switch (answer.case) {
          case "errorResp":
            return end(GateError.of(answer.value));
          case "kafkaSubscribedResp":
            return this.#subscribed(answer.value.topics);
          case "kafkaDeliveryResp": {
            const { topic, partition, nextOffset } = answer.value;
            progress();
            move(this.#received, topic, partition, nextOffset);
            return this.#push({ delivery: answer.value, taken: 0 });
          }
          case "kafkaSubscriptionEvent": {
            const { case: type, value } = answer.value.event;
            if (type === undefined) return;
            const at = { topic: value.topic, partition: value.partition };
            const next = type === "caughtUp" ? value.nextOffset : type === "skipped" ? value.to : undefined;
            move(this.#received, at.topic, at.partition, next);
            if (type === "skipped") {
              return this.#push({ event: { type, ...at, from: Number(value.from), to: Number(value.to) }, next });
            }
            if (type === "caughtUp") return this.#push({ event: { type, ...at }, next });
            if (value.error) this.#push({ event: { type, ...at, error: GateError.of(value.error) }, next });
          }
        }
      });
      this.#grant = (bytes) => connection.send({ case: "cmdCredit", value: { subscription, bytes: BigInt(bytes) } });
      const end = (error: GateError) => {
        connection.forget(subscription);
        this.#grant = undefined;
        this.#signal.removeEventListener("abort", unsubscribe);
        resolve(error);
      };
      const unsubscribe = () => {
        connection.send({ case: "cmdUnsubscribe", value: { subscription } });
        end(new GateError("the subscription was ended", "closed"));
      };
      this.#signal.addEventListener("abort", unsubscribe);
    });
  }

  #command(credit: number): Command {
    const { from = "latest", partitions = [], filters = [], onLag, committed } = this.#options;
    const begin =
      typeof from === "number"
        ? ({ case: "offset", value: BigInt(from) } as const)
        : ({ case: "timestamp", value: BigInt(from === "earliest" ? -2 : from === "latest" ? -1 : from.getTime()) } as const);
    const sources = this.#topics.map((topic) => {
      const { id = "", next = {} } = this.#received[topic] ?? {};
      return {
        topic,
        partitions,
        from: begin,
        next: Object.entries(next).map(([partition, offset]) => ({ partition: Number(partition), offset: BigInt(offset) })),
        topicId: Uint8Array.from(atob(id), (char) => char.charCodeAt(0)),
      };
    });
    return {
      case: "cmdKafkaSubscribe",
      value: {
        sources,
        isolation: Number(committed ?? false),
        filters: filters.map(({ header, equals = [], prefixes = [] }) => ({
          header,
          equals: contents(equals),
          prefixes: contents(prefixes),
        })),
        credit: BigInt(credit),
        onLag: Number(onLag === "skip"),
      },
    };
  }

  #subscribed(topics: SubscribedTopic[]): void {
    for (const { topic, topicId, partitions } of topics) {
      const id = btoa(String.fromCharCode(...topicId));
      for (const positions of [this.#received, this.#taken]) {
        const known = (positions[topic] ??= { id, next: {} });
        known.id = id;
        for (const { partition, offset } of partitions) known.next[partition] ??= Number(offset);
      }
    }
  }

  #push(waiting: Waiting): void {
    this.#waiting.push(waiting);
    this.#wake?.();
  }

  /** Grants what the loop has taken, in halves of the window, so that grants are few. */
  #done(bytes: number): void {
    this.#ungranted += bytes;
    if (this.#ungranted < this.#window / 2) return;
    this.#grant?.(this.#ungranted);
    this.#ungranted = 0;
  }

  /** Soon, and not for each record. */
  #save(): void {
    const { positions } = this.#options;
    if (!positions) return;
    this.#saving ??= setTimeout(() => {
      this.#saving = undefined;
      void positions.save(this.positions);
    }, SAVE_AFTER);
  }
}

function move(positions: Positions, topic: string, partition: number, next: bigint | undefined): void {
  const known = positions[topic];
  if (known && next !== undefined) known.next[partition] = Number(next);
}

/** The credit that a delivery still holds. */
function size(waiting: Waiting): number {
  if ("event" in waiting) return 0;
  const { delivery, taken } = waiting;
  return delivery.messages.slice(Math.max(0, taken - 1)).reduce((sum, message) => sum + cost(message), 0);
}

function contents(values: Content[]): Uint8Array[] {
  return values.map((value) => encode(value) ?? new Uint8Array());
}

const WINDOW = 256 * 1024;
/** Milliseconds. */
const SAVE_AFTER = 500;
