// Topics that are read as records are written: a loop takes each record once, in order, however often the connection is lost.

import type { Command, Connection } from "./connection.ts";
import type { Connections } from "./connections.ts";
import { cost } from "./cost.ts";
import { GateError } from "./errors.ts";
import type { KafkaDeliveryResp, SubscribedTopic } from "./generated/pubsub_pb.ts";
import { jitter, pause } from "./pause.ts";
import { type Places, placesOf, type Positions, positionsOf, type PositionStore } from "./positions.ts";
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

/** A delivery, or an event behind it, that waits for the loop. */
type Waiting = ({ delivery: KafkaDeliveryResp; taken: number } | { event: SubscriptionEvent }) & { next: bigint | undefined };

/** Records to loop over, once: `for await (const record of gate.subscribe("orders"))`. */
export class Subscription implements AsyncIterableIterator<Record> {
  readonly #connections: Connections;
  readonly #topics: string[];
  readonly #options: SubscribeOptions;
  readonly #window: number;
  readonly #end = new AbortController();
  readonly #signal: AbortSignal;
  readonly #waiting: Waiting[] = [];
  /** Where the server continues: behind what waits. */
  #received: Places = new Map();
  /** Where the loop is. */
  #taken: Places = new Map();
  #running = false;
  /** Whether there are positions to save, and who saves them. */
  #isUnsaved = false;
  #saving: Promise<void> | undefined;
  /** Of the last call of `next`. */
  #turn: Promise<unknown> = Promise.resolve();
  #error: unknown;
  #wake: (() => void) | undefined;
  /** Bytes that the loop has taken since the last grant. */
  #ungranted = 0;
  #grant: ((bytes: number) => void) | undefined;

  /** @internal */
  constructor(connections: Connections, topics: string[], options: SubscribeOptions) {
    this.#connections = connections;
    this.#topics = topics;
    this.#options = options;
    this.#window = options.window ?? WINDOW;
    this.#signal = AbortSignal.any([connections.signal(options.signal), this.#end.signal]);
  }

  /** The positions behind the records that the loop has processed. */
  get positions(): Positions {
    return positionsOf(this.#taken);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /**
   * Resolves with the next record. The one before it counts as processed.
   *
   * @throws GateError if the subscription ends for a reason that a retry cannot help.
   */
  next(): Promise<IteratorResult<Record, undefined>> {
    const turn = this.#turn.then(() => this.#next());
    this.#turn = turn.catch(() => this.return().catch(() => {}));
    return turn;
  }

  /** Ends the subscription, as `break` does. */
  async return(): Promise<IteratorResult<Record, undefined>> {
    this.#end.abort();
    this.#waiting.length = 0;
    await this.#saving;
    return { done: true, value: undefined };
  }

  async #next(): Promise<IteratorResult<Record, undefined>> {
    if (!this.#running) {
      this.#running = true;
      this.#run().catch((error: unknown) => this.#fail(error));
    }
    while (!this.#signal.aborted) {
      const waiting = this.#waiting[0];
      if (waiting && "event" in waiting) {
        this.#waiting.shift();
        this.#take(waiting.event, waiting.next);
        this.#options.onEvent?.(waiting.event);
      } else if (waiting) {
        const { topic, partition, messages } = waiting.delivery;
        const before = messages[waiting.taken - 1];
        if (before) this.#done(cost(before));
        const message = messages[waiting.taken++];
        this.#take(waiting.delivery, message?.offset ?? waiting.next);
        if (message) return { done: false, value: record(topic, partition, message) };
        this.#waiting.shift();
      } else if (this.#error !== undefined) {
        throw this.#error;
      } else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
    return this.return();
  }

  #fail(error: unknown): void {
    this.#error ??= error;
    this.#wake?.();
  }

  /** Subscribes, again and again, until it fails for good. */
  async #run(): Promise<never> {
    const positions = await this.#options.positions?.load();
    this.#taken = placesOf(positions);
    this.#received = placesOf(positions);
    for (let failures = 0; ; ) {
      const connection = await this.#connections.next(this.#signal);
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
      const credit = this.#window - this.#waiting.reduce((sum, waiting) => sum + size(waiting), 0);
      this.#ungranted = Math.min(0, credit);
      const subscription = connection.send(this.#command(Math.max(0, credit)), (answer) => {
        if (answer instanceof GateError) return end(answer);
        switch (answer.case) {
          case "errorResp":
            return end(GateError.of(answer.value));
          case "kafkaSubscribedResp":
            return this.#subscribed(answer.value.topics);
          case "kafkaDeliveryResp": {
            progress();
            return this.#push({ delivery: answer.value, taken: 0, next: answer.value.nextOffset });
          }
          case "kafkaSubscriptionEvent": {
            const { case: type, value } = answer.value.event;
            if (type === undefined) return;
            const at = { topic: value.topic, partition: value.partition };
            const next = type === "caughtUp" ? value.nextOffset : type === "skipped" ? value.to : undefined;
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
      const { id, next } = this.#received.get(topic) ?? { id: "", next: new Map<number, number>() };
      return {
        topic,
        partitions,
        from: begin,
        next: [...next].map(([partition, offset]) => ({ partition, offset: BigInt(offset) })),
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
      for (const places of [this.#received, this.#taken]) {
        const { next } = places.get(topic) ?? { next: new Map<number, number>() };
        places.set(topic, { id, next });
        for (const { partition, offset } of partitions) if (!next.has(partition)) next.set(partition, Number(offset));
      }
    }
  }

  #push(waiting: Waiting): void {
    move(this.#received, place(waiting), waiting.next);
    const costsNothing = "event" in waiting || !waiting.delivery.messages.length;
    if (!(costsNothing && this.#join(waiting))) this.#waiting.push(waiting);
    this.#wake?.();
  }

  /** Joins an empty delivery to what waits for its partition, and drops an older event: they cost no credit, and a loop can stand still. */
  #join(waiting: Waiting): boolean {
    const { topic, partition } = place(waiting);
    const before = this.#waiting.filter((other) => place(other).topic === topic && place(other).partition === partition);
    if ("event" in waiting) {
      const { event } = waiting;
      const old = before.findLast((other) => "delivery" in other || other.event.type === event.type);
      if (!old || "delivery" in old) return false;
      if (event.type === "skipped" && old.event.type === "skipped") waiting.event = { ...event, from: old.event.from };
      this.#waiting.splice(this.#waiting.indexOf(old), 1);
      return false;
    }
    const last = before.at(-1);
    if (last) last.next = waiting.next;
    return last !== undefined;
  }

  #take(at: { topic: string; partition: number }, next: bigint | undefined): void {
    move(this.#taken, at, next);
    const { positions } = this.#options;
    if (!positions) return;
    this.#isUnsaved = true;
    if (this.#saving) return;
    this.#saving = this.#save(positions);
    this.#saving.catch((error: unknown) => this.#fail(error));
  }

  /** Grants what the loop has taken, in halves of the window, so that grants are few. */
  #done(bytes: number): void {
    this.#ungranted += bytes;
    if (this.#ungranted < this.#window / 2) return;
    this.#grant?.(this.#ungranted);
    this.#ungranted = 0;
  }

  /** One save at a time, soon, and not for each record. The end saves at once. */
  async #save(positions: PositionStore): Promise<void> {
    while (this.#isUnsaved) {
      await pause(this.#end.signal, SAVE_AFTER).catch(() => {});
      this.#isUnsaved = false;
      await positions.save(this.positions);
    }
    this.#saving = undefined;
  }
}

function place(waiting: Waiting): { topic: string; partition: number } {
  return "event" in waiting ? waiting.event : waiting.delivery;
}

function move(places: Places, { topic, partition }: { topic: string; partition: number }, next: bigint | undefined): void {
  if (next !== undefined) places.get(topic)?.next.set(partition, Number(next));
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
