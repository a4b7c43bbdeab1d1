// The client: commands, and their answers.

import { check, type CommandOptions, Commands, onlyResult, timestamp } from "./commands.ts";
import type { Command } from "./connection.ts";
import { Connections, type ConnectOptions, type Status } from "./connections.ts";
import {
  type NewMessage,
  type Published,
  type StreamFetched,
  type StreamFetchOptions,
  type StreamMessage,
  streamMessage,
} from "./message.ts";
import type { StreamPositions } from "./positions.ts";
import { bytes, type Content, encode, type Record, record } from "./record.ts";
import { type StreamOptions, Streams } from "./streams.ts";
import { Subscription } from "./subscription.ts";
import { type SubscribeOptions, Topics } from "./topics.ts";

/** The settings of {@link Gate.fetch}. */
export interface FetchOptions extends CommandOptions {
  /** How long to wait for a record at the end of the log, in milliseconds, at most 30,000. By default 0. */
  wait?: number;
  /** The most bytes to read; one record can exceed it. By default, and at most, what the bridge allows (`read.max_bytes`). */
  maxBytes?: number;
  /** The most records to read. By default as many as fit in `maxBytes`. */
  maxRecords?: number;
  /** Leaves out records of open or aborted transactions. By default `false`. */
  committed?: boolean;
}

/** Records of one partition, read by {@link Gate.fetch}. */
export interface Fetched {
  /** In the order of their offsets; empty at the end of the log. */
  readonly records: readonly Record[];
  /** The offset to read on from. */
  readonly next: number;
  /** The offset that the next record of the partition will get; −1 if unknown. */
  readonly end: number;
}

/** A record to write. */
export interface NewRecord {
  /** The partition. By default the partitioner chooses one, by the key if there is one. */
  partition?: number;
  /** The key. By default null. */
  key?: Content;
  /** The value. By default null, which deletes the key from a compacted topic. */
  value?: Content;
  /** The headers, in this order; a name can be repeated. */
  headers?: { name: string; value?: Content }[];
  /** The timestamp. By default the time at which it is written. */
  timestamp?: Date;
}

/** Where a record was written. */
export interface Written {
  /** The partition. */
  readonly partition: number;
  /** The offset; −1 if Kafka did not report it. */
  readonly offset: number;
}

/** A topic. */
export interface Topic {
  /** Its name. */
  readonly name: string;
  /** The numbers of its partitions. */
  readonly partitions: readonly number[];
}

/**
 * Creates a client of a gateway's route. It connects when it is first used. When disconnected, it reconnects after a random pause of at
 * most 20 s.
 *
 * @param url the address of the route, as `wss://gateway.example/pubsub`. In a page of the gateway, `/pubsub` is enough.
 */
export function connect(url: string | URL, options: ConnectOptions = {}): Gate {
  return new Gate(url, options);
}

export interface Gate {
  /** Calls `listener` whenever {@link Gate.status} has changed. */
  addEventListener(type: "status", listener: (event: CustomEvent<Status>) => void, options?: boolean | AddEventListenerOptions): void;
  /** As of any `EventTarget`. */
  addEventListener(...args: Parameters<EventTarget["addEventListener"]>): void;
}

/** A client of a gateway's route, created by {@link connect}. It dispatches `status` events, whose `detail` is a {@link Status}. */
export class Gate extends EventTarget {
  #status: Status = { state: "idle" };
  readonly #connections: Connections;
  readonly #commands: Commands;

  /** @internal */
  constructor(url: string | URL, options: ConnectOptions) {
    super();
    this.#connections = new Connections(url, options, (status) => {
      this.#status = status;
      this.dispatchEvent(new CustomEvent("status", { detail: status }));
    });
    this.#commands = new Commands(this.#connections);
  }

  /** The `detail` of the last `status` event. */
  get status(): Status {
    return this.#status;
  }

  /**
   * Delivers messages of NATS streams as they are published: each stream's in order, each once, across lost connections.
   *
   * @throws {@link GateError} in the loop with `reason` `invalid_command` if the route is for Kafka.
   */
  subscribe(options: StreamOptions): Subscription<StreamMessage, StreamPositions>;
  /**
   * Delivers records as they are written: each partition's in order, each once, across lost connections.
   *
   * @param topics at most 100 names.
   * @throws {@link GateError} in the loop with `reason` `invalid_command` if the route is for NATS.
   */
  subscribe(topics: string | string[], options?: SubscribeOptions): Subscription;
  // Kafka's signature is the last one, because `Parameters` and `ReturnType` read that.
  subscribe(source: string | string[] | StreamOptions, options: SubscribeOptions = {}) {
    return typeof source === "string" || Array.isArray(source)
      ? new Subscription(this.#connections, new Topics([source].flat(), options), options)
      : new Subscription(this.#connections, new Streams(source), source);
  }

  /**
   * Reads messages of a NATS stream, from a sequence on. It is repeated if the connection is lost.
   *
   * @throws {@link GateError} with `reason` `offset_out_of_range` if the sequence is below the stream's first or beyond its end.
   */
  fetch(options: StreamFetchOptions): Promise<StreamFetched>;
  /**
   * Reads records of a partition, from an offset on. It is repeated if the connection is lost.
   *
   * @throws {@link GateError} with `reason` `offset_out_of_range` if the log has no such offset.
   */
  fetch(topic: string, partition: number, offset: number, options?: FetchOptions): Promise<Fetched>;
  async fetch(...read: [StreamFetchOptions] | [string, number, number, FetchOptions?]): Promise<Fetched | StreamFetched> {
    return read.length === 1 ? this.#fetchMessages(...read) : this.#fetchRecords(...read);
  }

  /**
   * Finds an offset in each partition of a topic. The result maps partitions to offsets; −1 means that no record is that new.
   *
   * @param at the start of the log, its end, or the first record at or after a time.
   */
  async offsets(topic: string, at: "earliest" | "latest" | Date, options: CommandOptions = {}): Promise<Map<number, number>> {
    const [described] = await this.#describe({ topics: [topic] }, options);
    const offsets = (described?.partitions ?? []).map((partition) => ({ topic, partition, timestamp: timestamp(at) }));
    const answer = await this.#commands.read({ case: "cmdKafkaListOffsets", value: { offsets } }, "kafkaListOffsetsResp", options);
    return new Map(
      answer.results.map(({ error, offset }, index) => {
        check(error);
        return [offsets[index]?.partition ?? -1, Number(offset)];
      }),
    );
  }

  /**
   * Finds a sequence in a NATS stream; −1 means that no message is that new.
   *
   * @param at the first message, the end of the stream, or the first message at or after a time.
   */
  async sequence(stream: string, at: "earliest" | "latest" | Date, options: CommandOptions = {}): Promise<number> {
    const times = [{ stream, timestamp: timestamp(at) }];
    const answer = await this.#commands.read({ case: "cmdNatsListSequences", value: { times } }, "natsListSequencesResp", options);
    return Number(onlyResult(answer.results, false).sequence);
  }

  /**
   * Lists the topics that the route allows.
   *
   * @param prefix the beginning of their names. By default all names.
   */
  async topics(prefix = "", options: CommandOptions = {}): Promise<Topic[]> {
    return this.#describe(prefix ? { prefixes: [prefix] } : {}, options);
  }

  /**
   * Writes a record, and resolves when Kafka has acknowledged it. It is never repeated.
   *
   * @throws {@link GateError} with `unknownOutcome` if the record may or may not have been written.
   */
  async produce(topic: string, content: NewRecord, options: CommandOptions = {}): Promise<Written> {
    const { partition, key, value, headers = [], timestamp } = content;
    const written = {
      topic,
      partition,
      key: encode(key),
      value: encode(value),
      headers: headers.map(({ name, value }) => ({ key: name, value: encode(value) })),
      timestamp: timestamp && BigInt(timestamp.getTime()),
    };
    const records = [written];
    const answer = await this.#commands.write({ case: "cmdKafkaProduce", value: { records } }, "kafkaProduceResp", options);
    const result = onlyResult(answer.results, true);
    return { partition: result.partition, offset: Number(result.offset) };
  }

  /**
   * Publishes a message to a NATS stream, and resolves when the stream has stored it. It is never repeated. With a `messageId`, you can
   * publish it again after an unknown outcome: within the stream's duplicate window, it is stored once.
   *
   * @throws {@link GateError} with `unknownOutcome` if the message may or may not have been stored.
   */
  async publish(message: NewMessage, options: CommandOptions = {}): Promise<Published> {
    const { stream, subject, data, headers = [], messageId } = message;
    const published = {
      stream,
      subject,
      data: bytes(data),
      headers: headers.map(({ name, value }) => ({ key: name, value: bytes(value) })),
      messageId,
    };
    const messages = [published];
    const answer = await this.#commands.write({ case: "cmdNatsPublish", value: { messages } }, "natsPublishResp", options);
    const { sequence, duplicate, duplicateWindowMs } = onlyResult(answer.results, true);
    return { sequence: Number(sequence), duplicate, duplicateWindowMs: Number(duplicateWindowMs) };
  }

  /** Measures the round trip to the bridge, and resolves with milliseconds. */
  async ping(options: CommandOptions = {}): Promise<number> {
    const start = performance.now();
    await this.#commands.read({ case: "cmdPing", value: {} }, "pongResp", options);
    return performance.now() - start;
  }

  /**
   * Closes an open connection. Subscriptions and later commands open a new one, for example after a login, with the new credentials. A
   * write in flight fails with `unknownOutcome`.
   */
  reconnect(): void {
    this.#connections.reconnect();
  }

  /** Ends the subscriptions and closes the connection for good. Later commands fail with `reason` `closed`. */
  close(): void {
    this.#connections.close();
  }

  async #fetchRecords(topic: string, partition: number, offset: number, options: FetchOptions = {}): Promise<Fetched> {
    const { wait: maxWaitMs = 0, maxBytes = 0, maxRecords = 0, committed } = options;
    const where = { topic, partition, offset: BigInt(offset) };
    const value = { ...where, maxWaitMs, maxBytes, maxRecords, isolation: Number(committed ?? false) };
    const answer = await this.#commands.read({ case: "cmdKafkaFetch", value }, "kafkaFetchResp", options);
    return {
      records: answer.messages.map((message) => record(topic, partition, message)),
      next: Number(answer.nextOffset),
      end: Number(answer.highWatermark ?? -1),
    };
  }

  async #fetchMessages(options: StreamFetchOptions): Promise<StreamFetched> {
    const { stream, sequence, wait: maxWaitMs = 0, maxBytes = 0, maxMessages = 0 } = options;
    const value = { stream, sequence: BigInt(sequence), maxWaitMs, maxBytes, maxMessages };
    const answer = await this.#commands.read({ case: "cmdNatsFetch", value }, "natsFetchResp", options);
    return {
      messages: answer.messages.map((message) => streamMessage(stream, message)),
      next: Number(answer.nextSequence),
      end: Number(answer.end ?? -1),
    };
  }

  async #describe(value: { topics?: string[]; prefixes?: string[] }, options: CommandOptions): Promise<Topic[]> {
    const topics: Topic[] = [];
    for (let after = ""; ; after = topics.at(-1)?.name ?? "") {
      const command: Command = { case: "cmdKafkaMetadata", value: { ...value, after } };
      const answer = await this.#commands.read(command, "kafkaMetadataResp", options);
      for (const { name, partitions, error } of answer.topics) {
        check(error);
        topics.push({ name, partitions: partitions.map(({ partition }) => partition) });
      }
      if (!answer.more) return topics;
    }
  }
}
