// Records of Kafka as applications see them.

import { command, date, duration, flag, integer, list, members, name, partition, schema } from "./check.ts";
import { type Content, Data, encode, type Schema } from "./data.ts";
import type { Header, KafkaMessage } from "./generated/pubsub_pb.ts";
import type { CommandOptions, WriteOptions } from "./options.ts";

/**
 * A record of a topic.
 *
 * @typeParam T the type of its value.
 */
export interface TopicRecord<T = any> {
  /** The topic's name. */
  readonly topic: string;
  /** The partition's number. */
  readonly partition: number;
  /** The offset in the partition. */
  readonly offset: number;
  /** The time at which the record was created or appended, as the topic is configured. */
  readonly timestamp: Date;
  /** The key; `undefined` if it is null. */
  readonly key: Data | undefined;
  /** The value; `undefined` if it is null, which deletes the key from a compacted topic. */
  readonly value: Data<T> | undefined;
  /** The headers in their order; a key can be repeated. */
  readonly headers: readonly { readonly key: string; readonly value: Data | undefined }[];
}

/**
 * The settings of {@link Gate.fetch}.
 *
 * @typeParam T the type of values.
 */
export interface FetchOptions<T = any> extends CommandOptions {
  /** Limit of the wait for a record at the end of the log, in milliseconds, at most 30,000. By default 0. */
  wait?: number;
  /**
   * The most bytes to read; one record can exceed it. By default, and at most, what the bridge allows
   * (`read.max_bytes`).
   */
  maxBytes?: number;
  /** The most records to read. By default as many as fit in `maxBytes`. */
  maxRecords?: number;
  /** Leaves out records of open or aborted transactions. By default `false`. */
  committed?: boolean;
  /**
   * Validates values: {@link Data.json} returns `undefined` for those that it does not allow. By default no value is
   * validated.
   */
  schema?: Schema<T>;
}

/**
 * Records of one partition, read by {@link Gate.fetch}.
 *
 * @typeParam T the type of values.
 */
export interface Fetched<T = any> {
  /** In the order of their offsets; empty at the end of the log. */
  readonly records: readonly TopicRecord<T>[];
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
  /** The value. `null` deletes the key from a compacted topic. */
  value: Content;
  /** The headers, at most 100, in this order; a key can be repeated. */
  headers?: NewHeader[];
  /** The timestamp. By default the time at which it is written. */
  timestamp?: Date;
}

/** A header to write; `name` stands for `key`, too. Without a value, it is null, on NATS empty. */
export type NewHeader =
  | { key: string; name?: undefined; value?: Content }
  | { name: string; key?: undefined; value?: Content };

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

/** @internal Fields of a record that applications see. */
export type RecordFields = Pick<KafkaMessage, "offset" | "timestamp" | "key" | "value"> & HeaderFields;

/** @internal Headers of records and messages. */
export interface HeaderFields {
  headers: Pick<Header, "key" | "value">[];
}

/** @internal */
export function record<T>(topic: string, partition: number, message: RecordFields, schema?: Schema<T>): TopicRecord<T> {
  return {
    topic,
    partition,
    offset: Number(message.offset),
    timestamp: new Date(Number(message.timestamp)),
    key: message.key && new Data(message.key),
    value: message.value && new Data(message.value, schema),
    headers: message.headers.map(({ key, value }) => ({ key, value: value && new Data(value) })),
  };
}

/** @internal The contract's form of a record to write. */
export function newRecord(topic: string, record: NewRecord, at: string) {
  checkRecord(record, at);
  const { partition, key, value, headers = [], timestamp } = record;
  return {
    topic,
    partition,
    key: encode(key, `${at}.key`),
    value: encode(value, `${at}.value`),
    headers: headers.map(({ key, name, value }) => ({ key: key ?? name, value: encode(value, `${at}.headers`) })),
    timestamp: timestamp && BigInt(timestamp.getTime()),
  };
}

/** {@link encode} checks contents. */
const content = () => {};

const checkHeader = members({ key: name, value: content }, ["key"]);

/** @internal */
export const headers = list(
  (header, at) => {
    const { name, ...others } = Object(header);
    if (name === undefined) return checkHeader(header, at);
    if (others.key !== undefined) throw new TypeError(`${at}: has key and name, expected one of them`);
    checkHeader({ ...others, key: name }, at);
  },
  "{ key, value }",
  100,
);

const checkRecord = members({ partition, key: content, value: content, headers, timestamp: date }, ["value"]);

/** @internal Options that reads of topics and streams share. */
export const read = { ...command, wait: integer(0, 30_000), maxBytes: integer(0, 2 ** 32 - 1), schema };

/** @internal */
export const checkFetch = members({ ...read, maxRecords: integer(0, 2 ** 32 - 1), committed: flag });

/** @internal */
export const checkWrite: (options: WriteOptions, at: string) => void = members({ ...command, timeout: duration });
