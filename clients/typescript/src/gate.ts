// The client: commands, and their answers.

import { command, end, integer, list, members, name, partition, reject, string } from "./check.ts";
import { allWritten, Commands, check, onlyResult, timestamp } from "./commands.ts";
import type { Command } from "./connection.ts";
import { Connections, type ConnectOptions, type Status } from "./connections.ts";
import { GateError } from "./errors.ts";
import { recordFilters } from "./filter.ts";
import { checkBegin } from "./loop.ts";
import type { Member, MemberOptions } from "./member.ts";
import {
  checkStreamFetch,
  type NewMessage,
  newMessage,
  type Published,
  type StreamFetched,
  type StreamFetchOptions,
  type StreamMessage,
  streamMessage,
} from "./message.ts";
import type { CommandOptions, ProduceOptions, WriteOptions } from "./options.ts";
import type { StreamPositions } from "./positions.ts";
import {
  checkFetch,
  checkProduce,
  checkWrite,
  type Fetched,
  type FetchOptions,
  type NewRecord,
  newRecord,
  record,
  type Topic,
  type TopicRecord,
  type Written,
} from "./record.ts";
import { checkStreams, type StreamOptions, Streams } from "./streams.ts";
import { Subscription } from "./subscription.ts";
import type { StreamTableOptions, TableOptions } from "./table/options.ts";
import { tables } from "./table/registry.ts";
import type { Table } from "./table/table.ts";
import { checkMember, checkSubscribe, type SubscribeOptions, type TopicOptions, Topics } from "./topics.ts";

/**
 * Creates a client of a gateway's route. It connects when it is first used. When disconnected, it reconnects after a
 * random pause of at most 20 s, or at once if the network is back or the page is shown again. An open connection is
 * checked then, too: {@link Gate.retryNow}. The oldest browsers are Chrome and Edge 100, Firefox 97 and Safari 15.4: an
 * older one gets a {@link GateError} with `reason` `protocol`. If a WebSocket is not opened, browsers hide why: the client asks the same address once in an outage with a plain `GET`, with cookies, and
 * again without if it cannot read the answer. The error of its {@link Status} says what it got. If nothing listens to
 * `status`, the console says it. It asks again after {@link Gate.reconnect}, and if address or subprotocols change.
 *
 * @param url the address of the route, as `wss://gateway.example/pubsub`. In a page of the gateway, `/pubsub` is
 * enough.
 *
 * @example
 * ```ts
 * const gate = connect("wss://gateway.example/pubsub");
 * ```
 */
export function connect(url: string | URL, options: ConnectOptions = {}): Gate {
  return new Gate(url, options);
}

/**
 * A client of a gateway's route, created by {@link connect}. It dispatches `status` events, whose `detail` is a {@link
 * Status}. A wrong argument is a `TypeError` that names it, and nothing is sent.
 */
export class Gate extends EventTarget {
  #status: Status = { state: "idle" };
  /** Whether a listener of `status` was added. */
  #isHeard = false;
  /** @internal For outboxes. */
  readonly connections: Connections;
  readonly #commands: Commands;

  /** @internal */
  constructor(url: string | URL, options: ConnectOptions) {
    super();
    this.connections = new Connections(url, options, (status) => {
      this.#status = status;
      this.dispatchEvent(new CustomEvent("status", { detail: status }));
      return this.#isHeard;
    });
    this.#commands = new Commands(this.connections);
  }

  /**
   * Calls `listener` whenever {@link Gate.status} has changed.
   *
   * @example
   * ```ts
   * gate.addEventListener("status", ({ detail }) => console.log(detail.state));
   * ```
   */
  override addEventListener(
    type: "status",
    listener: (event: CustomEvent<Status>) => void,
    options?: Parameters<EventTarget["addEventListener"]>[2],
  ): void;
  /** As of any `EventTarget`. */
  override addEventListener(...args: Parameters<EventTarget["addEventListener"]>): void;
  override addEventListener(...args: any): void {
    this.#isHeard ||= args[0] === "status";
    super.addEventListener(...(args as Parameters<EventTarget["addEventListener"]>));
  }

  /** The `detail` of the last `status` event. */
  get status(): Status {
    return this.#status;
  }

  /**
   * Delivers records as a member of a consumer group, which gives each partition to one of its members: every record
   * that is not committed comes to one of them, at least once.
   *
   * @typeParam T the type of values. Without a `schema`, nothing checks it.
   * @param topics at most 100 names.
   * @throws {@link GateError} with `reason` `closed` if the client is closed; in the loop with `reason` `denied` if the
   * route does not allow the group, and `protocol` if the bridge is too old for groups.
   *
   * @example
   * ```ts
   * for await (const record of gate.subscribe("orders", { group: "web-orders", from: "earliest", autoCommit: true })) {
   *   await handle(record);
   * }
   * ```
   */
  subscribe<T = any>(topics: string | string[], options: MemberOptions<T>): Member<T>;
  /**
   * Delivers records as they are written: each partition's in order, each once, across lost connections.
   *
   * @typeParam T the type of values. Without a `schema`, nothing checks it.
   * @param topics at most 100 names.
   * @throws {@link GateError} with `reason` `closed` if the client is closed; in the loop with `reason`
   * `invalid_command` if the route is for NATS, and `recreated` if the topic was deleted and created again.
   *
   * @example
   * ```ts
   * for await (const record of gate.subscribe<Order>("orders", { last: 10 })) {
   *   const order = record.value?.json();
   *   if (order) console.log(record.partition, record.offset, order.id);
   * }
   * ```
   */
  subscribe<T = any>(topics: string | string[], options?: SubscribeOptions<T>): Subscription<TopicRecord<T>>;
  /**
   * Delivers messages of NATS streams as they are published: each stream's in order, each once, across lost
   * connections.
   *
   * @typeParam T the type of payloads. Without a `schema`, nothing checks it.
   * @throws {@link GateError} with `reason` `closed` if the client is closed; in the loop with `reason`
   * `invalid_command` if the route is for Kafka, and `recreated` if the stream was deleted and created again.
   *
   * @example
   * ```ts
   * for await (const message of gate.subscribe<Order>({ streams: "orders", from: "earliest" })) {
   *   console.log(message.sequence, message.subject, message.data.json()?.id);
   * }
   * ```
   */
  subscribe<T = any>(options: StreamOptions<T>): Subscription<StreamMessage<T>, StreamPositions>;
  subscribe<T>(source: string | string[] | StreamOptions<T>, options?: TopicOptions<T>) {
    const isTopics = typeof source === "string" || Array.isArray(source);
    if (isTopics) {
      const topics = [source].flat();
      checkTopics(topics, "subscribe: topics");
      const settings = options ?? {};
      checkSubscribe(settings, "subscribe: options");
      checkBegin(settings);
      checkMember(settings);
      this.connections.signal.throwIfAborted();
      return new Subscription(this.connections, new Topics(topics, settings), settings);
    }
    if (!source?.streams) reject("subscribe", source, "a topic's name, a list of names, or an object with streams");
    if (options !== undefined) reject("subscribe: options", options, "none beside an object with streams");
    checkStreams(source, "subscribe: options");
    checkBegin(source);
    this.connections.signal.throwIfAborted();
    return new Subscription(this.connections, new Streams(source), source);
  }

  /**
   * Keeps the newest value of each key of a topic, as a `Map` that follows the topic until {@link Table.close}. It begins
   * at once. Tables are an entry of their own: `import { connect } from "sluicegate/tables"`. The route must list the
   * topic under `tables`.
   *
   * @typeParam T the type of values. Without a `schema`, nothing checks it.
   * @throws TypeError without that import.
   *
   * @example
   * ```ts
   * const prices = gate.table<Price>("prices");
   * for await (const _ of prices.changes()) render(prices);
   * ```
   */
  table<T = any>(topic: string, options?: TableOptions<T>): Table<T>;
  /**
   * Keeps the newest payload of each subject of a NATS stream, such as a key-value bucket, as a `Map` that follows the
   * stream.
   *
   * @typeParam T the type of payloads. Without a `schema`, nothing checks it.
   * @throws TypeError without that import.
   *
   * @example
   * ```ts
   * const settings = gate.table<Setting>({ stream: "KV_settings" });
   * await settings.ready;
   * const theme = settings.get("$KV.settings.theme");
   * ```
   */
  table<T = any>(options: StreamTableOptions<T>): Table<T, StreamMessage<T>>;
  table(source: string | StreamTableOptions, options?: TableOptions) {
    return tables().open(this.connections, source, options);
  }

  /**
   * Removes all stored tables of this origin, of every identity: call it at a logout. Tables that are open, also in other
   * tabs, are not stored any longer.
   *
   * @example
   * ```ts
   * gate.close();
   * await gate.clear();
   * ```
   */
  async clear(): Promise<void> {
    await tables().clear();
  }

  /**
   * Reads records of a partition, from an offset on. It is repeated if the connection is lost.
   *
   * @typeParam T the type of values. Without a `schema`, nothing checks it.
   * @throws {@link GateError} with `reason` `offset_out_of_range` if the log has no such offset.
   *
   * @example
   * ```ts
   * const { records, next } = await gate.fetch("orders", 0, 100, { wait: 5000 });
   * ```
   */
  fetch<T = any>(topic: string, partition: number, offset: number, options?: FetchOptions<T>): Promise<Fetched<T>>;
  /**
   * Reads messages of a NATS stream, from a sequence on. It is repeated if the connection is lost.
   *
   * @typeParam T the type of payloads. Without a `schema`, nothing checks it.
   * @throws {@link GateError} with `reason` `offset_out_of_range` if the sequence is below the stream's first or beyond
   * its end.
   *
   * @example
   * ```ts
   * const { messages, next } = await gate.fetch({ stream: "orders", sequence: 100 });
   * ```
   */
  fetch<T = any>(options: StreamFetchOptions<T>): Promise<StreamFetched<T>>;
  async fetch<T>(
    source: string | StreamFetchOptions<T>,
    partition?: number,
    offset?: number,
    options: FetchOptions<T> = {},
  ): Promise<Fetched<T> | StreamFetched<T>> {
    if (typeof source === "string") return this.#fetchRecords(source, partition!, offset!, options);
    if (typeof source === "object") return this.#fetchMessages(source);
    return reject("fetch", source, "a topic's name, a partition and an offset, or an object with stream and sequence");
  }

  /**
   * Finds an offset in each partition of a topic. The result maps partitions to offsets; −1 means that no record is
   * that new.
   *
   * @param at the start of the log, its end, or the first record at or after a time.
   *
   * @example
   * ```ts
   * const offsets = await gate.offsets("orders", new Date(Date.now() - 60_000));
   * ```
   */
  async offsets(
    topic: string,
    at: "earliest" | "latest" | Date,
    options: CommandOptions = {},
  ): Promise<Map<number, number>> {
    name(topic, "offsets: topic");
    end(at, "offsets: at");
    checkCommand(options, "offsets: options");
    const [described] = await this.#describe({ topics: [topic] }, options);
    const offsets = (described?.partitions ?? []).map((partition) => ({ topic, partition, timestamp: timestamp(at) }));
    const answer = await this.#commands.read(
      { case: "cmdKafkaListOffsets", value: { offsets } },
      "kafkaListOffsetsResp",
      options,
    );
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
   *
   * @example
   * ```ts
   * const next = await gate.sequence("orders", "latest");
   * ```
   */
  async sequence(stream: string, at: "earliest" | "latest" | Date, options: CommandOptions = {}): Promise<number> {
    name(stream, "sequence: stream");
    end(at, "sequence: at");
    checkCommand(options, "sequence: options");
    const times = [{ stream, timestamp: timestamp(at) }];
    const answer = await this.#commands.read(
      { case: "cmdNatsListSequences", value: { times } },
      "natsListSequencesResp",
      options,
    );
    return Number(onlyResult(answer.results).sequence);
  }

  /**
   * Lists the topics that the route allows.
   *
   * @param prefix the beginning of their names. By default all names.
   *
   * @example
   * ```ts
   * for (const { name, partitions } of await gate.topics("orders.")) console.log(name, partitions.length);
   * ```
   */
  async topics(prefix = "", options: CommandOptions = {}): Promise<Topic[]> {
    string(prefix, "topics: prefix");
    checkCommand(options, "topics: options");
    return this.#describe(prefix ? { prefixes: [prefix] } : {}, options);
  }

  /**
   * Writes a record, and resolves when Kafka has acknowledged it. If the client is not connected, it waits for a
   * connection, within the `timeout`. It is never repeated. With a `producer`, you can repeat it: Kafka writes it once.
   *
   * @throws {@link GateError} with `unknownOutcome` if the record may or may not have been written, with `reason`
   * `too_large` if it is larger than the gateway's messages, and `protocol`, with the `results` of a write without
   * protection, if the bridge is too old for a `producer`.
   *
   * @example
   * ```ts
   * const { partition, offset } = await gate.produce("orders", { key: "42", value: { id: 42, state: "paid" } });
   * ```
   */
  produce(topic: string, record: NewRecord, options?: ProduceOptions): Promise<Written>;
  /**
   * Writes at most 1,000 records in one message, and resolves when Kafka has acknowledged all of them.
   *
   * @throws {@link GateError} with `results` if some were not acknowledged. The others were written.
   *
   * @example
   * ```ts
   * const written = await gate.produce("orders", orders.map((order) => ({ key: order.id, value: order })));
   * ```
   */
  produce(topic: string, records: ArrayLike<NewRecord>, options?: ProduceOptions): Promise<Written[]>;
  async produce(
    topic: string,
    content: NewRecord | ArrayLike<NewRecord>,
    options: ProduceOptions = {},
  ): Promise<Written | Written[]> {
    const written = await this.#write("produce", topic, content, options);
    return Array.isArray(content) ? written : written[0]!;
  }

  /**
   * Checks records as {@link Gate.produce} does, and resolves with the partition of each, but writes nothing. A client that
   * repeats writes with a `producer` has to know their partition, and to keep it: partitions can be added.
   *
   * @throws {@link GateError} with `results` if some would be refused.
   *
   * @example
   * ```ts
   * const [partition] = await gate.place("orders", [{ key: "42", value: { id: 42 } }]);
   * ```
   */
  async place(topic: string, records: NewRecord[], options: WriteOptions = {}): Promise<number[]> {
    const placed = await this.#write("place", topic, records, options, true);
    return placed.map(({ partition }) => partition);
  }

  /**
   * Publishes a message to a NATS stream, and resolves when the stream has stored it. If the client is not connected,
   * it waits for a connection, within the `timeout`. It is never repeated. With a `messageId`, you can publish it again
   * after an unknown outcome: within the stream's duplicate window, it is stored once.
   *
   * @throws {@link GateError} with `unknownOutcome` if the message may or may not have been stored, and with `reason`
   * `too_large` if it is larger than the gateway's messages.
   *
   * @example
   * ```ts
   * const { sequence } = await gate.publish({ stream: "orders", subject: "orders.eu", data: { id: 42 }, messageId: "order-42" });
   * ```
   */
  publish(message: NewMessage, options?: WriteOptions): Promise<Published>;
  /**
   * Publishes at most 1,000 messages in one, and resolves when their streams have stored all of them.
   *
   * @throws {@link GateError} with `results` if some were not acknowledged. The others were stored.
   *
   * @example
   * ```ts
   * await gate.publish(orders.map((data) => ({ stream: "orders", subject: "orders.eu", data })));
   * ```
   */
  publish(messages: ArrayLike<NewMessage>, options?: WriteOptions): Promise<Published[]>;
  async publish(
    content: NewMessage | ArrayLike<NewMessage>,
    options: WriteOptions = {},
  ): Promise<Published | Published[]> {
    checkWrite(options, "publish: options");
    const messages = each(content, "publish: message", newMessage);
    const answer = await this.#commands.write(
      { case: "cmdNatsPublish", value: { messages } },
      "natsPublishResp",
      options,
    );
    const published = allWritten(messages.length, answer.results, ({ sequence, duplicate, duplicateWindowMs }) => ({
      sequence: Number(sequence),
      duplicate,
      duplicateWindowMs: Number(duplicateWindowMs),
    }));
    return Array.isArray(content) ? published : published[0]!;
  }

  /**
   * Measures the round trip to the bridge, and resolves with milliseconds.
   *
   * @example
   * ```ts
   * console.log(`${await gate.ping()} ms`);
   * ```
   */
  async ping(options: CommandOptions = {}): Promise<number> {
    checkCommand(options, "ping: options");
    const start = performance.now();
    await this.#commands.read({ case: "cmdPing", value: {} }, "pongResp", options);
    return performance.now() - start;
  }

  /**
   * Connects with new credentials, for example after a login: closes an open connection, begins an unfinished attempt
   * again, and ends the pause before the next one. A running call of `refresh` ends first: its result is ignored, and
   * `refresh` is called again. After a connection that was open, subscriptions and later commands open the new one,
   * after a random pause. A write in flight fails with `unknownOutcome`. Without effect on a client that is idle or
   * closed.
   *
   * @example
   * ```ts
   * loginForm.onsubmit = async () => {
   *   await login();
   *   gate.reconnect();
   * };
   * ```
   */
  reconnect(): void {
    this.connections.reconnect();
  }

  /**
   * Ends the pause before the next attempt, or gives up an attempt of more than 2 s. If the client is connected, it sends
   * a ping, and connects again at once if it is not answered within 2 s: after sleep, or a change of networks, a connection can
   * be gone without a word. The client does so by itself if the browser is online again, or the page is shown again
   * (`online`, `pageshow`, `visibilitychange`). Without effect on a client that is idle or closed.
   *
   * @example
   * ```ts
   * retryButton.onclick = () => gate.retryNow();
   * ```
   */
  retryNow(): void {
    this.connections.retryNow();
  }

  /**
   * Ends the subscriptions and closes the connection for good. Later calls fail with `reason` `closed`.
   *
   * @example
   * ```ts
   * gate.close();
   * ```
   */
  close(): void {
    this.connections.close();
  }

  async #write(
    call: string,
    topic: string,
    content: NewRecord | ArrayLike<NewRecord>,
    options: ProduceOptions,
    dryRun?: boolean,
  ): Promise<Written[]> {
    name(topic, `${call}: topic`);
    (dryRun ? checkWrite : checkProduce)(options, `${call}: options`);
    const { producer } = options;
    const records = each(content, `${call}: record`, (record, at) => newRecord(topic, record, at));
    const value = { records, producer: producer && { ...producer, ageMs: BigInt(producer.age) }, dryRun };
    const answer = await this.#commands.write({ case: "cmdKafkaProduce", value }, "kafkaProduceResp", options);
    let isIgnored = false;
    const results = allWritten(
      records.length,
      answer.results,
      ({ partition, offset, duplicate, duplicateWindowMs: window }): Written => {
        isIgnored ||= dryRun ? offset >= 0 : !!producer && !window;
        const written = { partition, offset: Number(offset) };
        return producer ? { ...written, duplicate, duplicateWindowMs: Number(window) } : written;
      },
    );
    if (isIgnored) throw new GateError(TOO_OLD, "protocol", { results });
    return results;
  }

  async #fetchRecords<T>(topic: string, from: number, offset: number, options: FetchOptions<T>): Promise<Fetched<T>> {
    name(topic, "fetch: topic");
    partition(from, "fetch: partition");
    integer()(offset, "fetch: offset");
    checkFetch(options, "fetch: options");
    const { wait: maxWaitMs = 0, maxBytes = 0, maxRecords = 0, committed, decode, schema } = options;
    const where = { topic, partition: from, offset: BigInt(offset), filters: recordFilters(options.filters) };
    const value = { ...where, maxWaitMs, maxBytes, maxRecords, isolation: Number(committed ?? false), decode };
    const answer = await this.#commands.read({ case: "cmdKafkaFetch", value }, "kafkaFetchResp", options);
    return {
      records: answer.messages.map((message) => record(topic, from, message, schema)),
      next: Number(answer.nextOffset),
      end: Number(answer.highWatermark ?? -1),
    };
  }

  async #fetchMessages<T>(options: StreamFetchOptions<T>): Promise<StreamFetched<T>> {
    checkStreamFetch(options, "fetch: options");
    const { stream, sequence, wait: maxWaitMs = 0, maxBytes = 0, maxMessages = 0, schema } = options;
    const filters = recordFilters(options.filters);
    const value = { stream, sequence: BigInt(sequence), maxWaitMs, maxBytes, maxMessages, filters };
    const answer = await this.#commands.read({ case: "cmdNatsFetch", value }, "natsFetchResp", options);
    return {
      messages: answer.messages.map((message) => streamMessage(stream, message, schema)),
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

/** The contract's form of one record or message, or of each of a list. */
function each<C, R>(content: C | ArrayLike<C>, at: string, of: (one: C, at: string) => R): R[] {
  if (!Array.isArray(content)) return [of(content as C, at)];
  checkBatch(content, `${at}s`);
  return content.map((one, index) => of(one, `${at}s[${index}]`));
}

const TOO_OLD = "the bridge is too old: it has written the records, and a repeat would write them again";
const checkTopics = list(name, "names", 100, 1);
const checkBatch = list(() => {}, "in a list", 1000, 1);
const checkCommand = members(command);
