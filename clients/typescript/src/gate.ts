// The client: commands over a connection that is opened when it is needed, and opened again when it is lost.

import { type Answer, type Command, Connection } from "./connection.ts";
import { GateError } from "./errors.ts";
import type { ErrorResp } from "./generated/pubsub_pb.ts";
import { jitter, pause, unless } from "./pause.ts";
import { type Content, encode, type Record, record } from "./record.ts";
import { type SubscribeOptions, Subscription } from "./subscription.ts";

/** The settings of {@link connect}. */
export interface ConnectOptions {
  /** WebSocket subprotocols to offer, as for a token. */
  protocols?: string[];
  /** Asked before each connection: what it gives replaces the address and the subprotocols, as for a new token. */
  refresh?: () => Promise<{ url?: string | URL; protocols?: string[] }>;
  /** Closes the client. */
  signal?: AbortSignal;
}

/** Whether the client is connected, in a `status` event. */
export type Status =
  | { readonly state: "idle" | "connecting" | "open" | "closed" }
  /** The connection was lost, or not opened. */
  | { readonly state: "disconnected"; readonly error: GateError }
  /** The next attempt follows after so many milliseconds. */
  | { readonly state: "waiting"; readonly error: GateError; readonly retryIn: number };

/** The settings of single commands. */
export interface CommandOptions {
  signal?: AbortSignal;
}

/** The settings of {@link Gate.fetch}. */
export interface FetchOptions extends CommandOptions {
  /** How long to wait for a record at the end, in milliseconds, at most 30,000. */
  wait?: number;
  /** The most that is read; one record is read in any case. */
  maxBytes?: number;
  maxRecords?: number;
  /** Without records of open or aborted transactions. */
  committed?: boolean;
}

/** Records of one partition. */
export interface Fetched {
  readonly records: readonly Record[];
  /** The offset to continue from. */
  readonly next: number;
  /** The end of the log; −1: unknown. */
  readonly end: number;
}

/** A record to write. */
export interface NewRecord {
  /** Absent: the partitioner's choice, by the key if there is one. */
  partition?: number;
  key?: Content;
  value?: Content;
  headers?: { name: string; value?: Content }[];
  timestamp?: Date;
}

/** Where a record was written. The offset is −1 if Kafka did not tell it. */
export interface Written {
  readonly partition: number;
  readonly offset: number;
}

/** A topic and the numbers of its partitions. */
export interface Topic {
  readonly name: string;
  readonly partitions: readonly number[];
}

/**
 * Opens a client of a gateway. It connects when it is first used, and again, at random times, after it was disconnected.
 *
 * @param url the address of the gateway's route, beginning with `wss:` or `ws:`.
 */
export function connect(url: string | URL, options: ConnectOptions = {}): Gate {
  return new Gate(url, options);
}

/** A client of a gateway: see {@link connect}. */
export class Gate extends EventTarget {
  #status: Status = { state: "idle" };
  readonly #url: string | URL;
  readonly #options: ConnectOptions;
  readonly #end = new AbortController();
  #connection: Promise<Connection> | undefined;
  /** Of the last connection. */
  #failure: GateError | undefined;
  /** In a row. */
  #failures = 0;

  /** @internal */
  constructor(url: string | URL, options: ConnectOptions) {
    super();
    this.#url = url;
    this.#options = options;
    options.signal?.addEventListener("abort", () => this.close());
    if (options.signal?.aborted) this.close();
  }

  /** What the last `status` event was about. */
  get status(): Status {
    return this.#status;
  }

  /** Delivers records as they are written: each partition's in order, each once, across lost connections. */
  subscribe(topics: string | string[], options: SubscribeOptions = {}): Subscription {
    return new Subscription(this, [topics].flat(), options);
  }

  /** Reads records of a partition, from an offset on. */
  async fetch(topic: string, partition: number, offset: number, options: FetchOptions = {}): Promise<Fetched> {
    const { wait: maxWaitMs = 0, maxBytes = 0, maxRecords = 0, committed } = options;
    const where = { topic, partition, offset: BigInt(offset) };
    const value = { ...where, maxWaitMs, maxBytes, maxRecords, isolation: Number(committed ?? false) };
    const answer = await this.#read({ case: "cmdKafkaFetch", value }, "kafkaFetchResp", options);
    return {
      records: answer.messages.map((message) => record(topic, partition, message)),
      next: Number(answer.nextOffset),
      end: Number(answer.highWatermark ?? -1),
    };
  }

  /**
   * Finds an offset in each partition of a topic.
   *
   * @param at the log's ends, or the first record at or after a time.
   */
  async offsets(topic: string, at: "earliest" | "latest" | Date, options: CommandOptions = {}): Promise<Map<number, number>> {
    const [described] = await this.#describe({ topics: [topic] }, options);
    const timestamp = BigInt(at === "earliest" ? -2 : at === "latest" ? -1 : at.getTime());
    const offsets = (described?.partitions ?? []).map((partition) => ({ topic, partition, timestamp }));
    const answer = await this.#read({ case: "cmdKafkaListOffsets", value: { offsets } }, "kafkaListOffsetsResp", options);
    return new Map(
      answer.results.map(({ error, offset }, index) => {
        check(error);
        return [offsets[index]?.partition ?? -1, Number(offset)];
      }),
    );
  }

  /**
   * Lists the topics that the route allows.
   *
   * @param prefix the beginning of their names.
   */
  async topics(prefix = "", options: CommandOptions = {}): Promise<Topic[]> {
    return this.#describe(prefix ? { prefixes: [prefix] } : {}, options);
  }

  /**
   * Writes a record, and resolves when Kafka has it.
   *
   * @throws GateError with `unknownOutcome` if the record may or may not have been written.
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
    const answer = await this.#command({ case: "cmdKafkaProduce", value: { records } }, "kafkaProduceResp", options);
    const [result] = answer.results;
    check(result?.error);
    return { partition: result?.partition ?? -1, offset: Number(result?.offset ?? -1) };
  }

  /** Resolves with the milliseconds to the bridge and back. */
  async ping(options: CommandOptions = {}): Promise<number> {
    const start = performance.now();
    await this.#read({ case: "cmdPing", value: {} }, "pongResp", options);
    return performance.now() - start;
  }

  /** Ends the subscriptions, and closes the connection for good. */
  close(): void {
    if (this.#end.signal.aborted) return;
    this.#end.abort(new GateError("the client is closed", "closed"));
    this.#connection?.then((connection) => connection.close()).catch(() => {});
    this.#tell({ state: "closed" });
  }

  /** @internal The open connection, or the next one. */
  async connection(signal: AbortSignal): Promise<Connection> {
    while (true) {
      signal.throwIfAborted();
      this.#connection ??= this.#connect();
      try {
        return await unless(signal, this.#connection);
      } catch (error) {
        if (!(error instanceof GateError && error.retriable) || signal.aborted) throw error;
      }
    }
  }

  /** @internal Aborted when the client is closed, or by another signal. */
  signal(other: AbortSignal | undefined): AbortSignal {
    return other ? AbortSignal.any([this.#end.signal, other]) : this.#end.signal;
  }

  /** One attempt: after a failure, at a random time, so that clients that were disconnected together do not come back together. */
  async #connect(): Promise<Connection> {
    const { signal } = this.#end;
    try {
      if (this.#failure) {
        const retryIn = jitter(this.#failures++);
        this.#tell({ state: "waiting", error: this.#failure, retryIn });
        await pause(signal, retryIn);
      }
      this.#tell({ state: "connecting" });
      const { url = this.#url, protocols = this.#options.protocols ?? [] } = (await this.#options.refresh?.()) ?? {};
      const connection = await Connection.open(url, protocols, signal);
      connection.lost.then((error) => this.#lost(error));
      this.#failures = 0;
      this.#tell({ state: "open" });
      return connection;
    } catch (error) {
      signal.throwIfAborted();
      this.#lost(error);
      throw error;
    }
  }

  #lost(error: unknown): void {
    this.#connection = undefined;
    if (this.#end.signal.aborted || !(error instanceof GateError)) return;
    this.#failure = error;
    this.#tell({ state: "disconnected", error });
  }

  #tell(status: Status): void {
    this.#status = status;
    this.dispatchEvent(new CustomEvent("status", { detail: status }));
  }

  /** A command that can be repeated, if the connection is lost before the answer. */
  async #read<C extends Case>(command: Command, expected: C, options: CommandOptions): Promise<ValueOf<C>> {
    while (true) {
      try {
        return await this.#command(command, expected, options);
      } catch (error) {
        if (!(error instanceof GateError) || error.reason !== "disconnected") throw error;
      }
    }
  }

  async #command<C extends Case>(command: Command, expected: C, options: CommandOptions): Promise<ValueOf<C>> {
    const signal = this.signal(options.signal);
    const connection = await this.connection(signal);
    let sequence = 0n;
    const answered = new Promise<Answer>((resolve, reject) => {
      sequence = connection.send(command, (answer) => {
        if (!(answer instanceof GateError)) return resolve(answer);
        // A read can be repeated; a write may have happened already.
        const about = { retriable: true, unknownOutcome: command.case === "cmdKafkaProduce" };
        reject(new GateError(answer.message, answer.reason, about));
      });
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

  async #describe(value: { topics?: string[]; prefixes?: string[] }, options: CommandOptions): Promise<Topic[]> {
    const topics: Topic[] = [];
    for (let after = ""; ; after = topics.at(-1)?.name ?? "") {
      const command: Command = { case: "cmdKafkaMetadata", value: { ...value, after } };
      const answer = await this.#read(command, "kafkaMetadataResp", options);
      for (const { name, partitions, error } of answer.topics) {
        check(error);
        topics.push({ name, partitions: partitions.map(({ partition }) => partition) });
      }
      if (!answer.more) return topics;
    }
  }
}

type Case = NonNullable<Answer["case"]>;
type ValueOf<C extends Case> = Extract<Answer, { case: C }>["value"];

function check(error: ErrorResp | undefined): void {
  if (error) throw GateError.of(error);
}
