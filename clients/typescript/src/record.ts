// Records of Kafka as applications see them.

import { type Check, command, date, duration, flag, integer, list, members, name, partition, schema } from "./check.ts";
import { type Content, Data, encode, type Schema } from "./data.ts";
import { checkFilters, type Filter } from "./filter.ts";
import type { Header, KafkaMessage, Schema as RegistrySchema } from "./generated/pubsub_pb.ts";
import type { CommandOptions, ProduceOptions, WriteOptions } from "./options.ts";

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
  /** With `decode`, the JSON of a key with a schema; `undefined` if there is none. `key` is as it is stored. */
  readonly keyJson: Data | undefined;
  /** The value; `undefined` if it is null, which deletes the key from a compacted topic. */
  readonly value: Data<T> | undefined;
  /** The schema of a value that `decode` has made JSON; `undefined` if the value is as it is stored. */
  readonly valueSchema: ValueSchema | undefined;
  /** The schema of `keyJson`. */
  readonly keySchema: ValueSchema | undefined;
  /** Why the value, or the key, is as it is stored despite `decode`; `undefined` if it was decoded, or has no schema. */
  readonly notDecoded: string | undefined;
  /** The headers in their order; a key can be repeated. */
  readonly headers: readonly { readonly key: string; readonly value: Data | undefined }[];
  /**
   * The assignment of a member of a group in which the record came: {@link Member.commit} refuses those of earlier ones.
   * `undefined` without a group.
   */
  readonly assignment: number | undefined;
}

/** A schema of the cluster's registry. */
export interface ValueSchema {
  /** The registry's number; `undefined` if the record has a `guid` instead. */
  readonly id: number | undefined;
  /** The registry's GUID; `undefined` if the record has an `id` instead. */
  readonly guid: string | undefined;
  /** The language of the schema. */
  readonly type: "AVRO" | "PROTOBUF" | "JSON";
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
  /** As {@link SubscribeOptions.decode}. */
  decode?: boolean;
  /**
   * Only records that match every filter; at most 16. Without a match in 5 s, or within `wait` if that is longer, there
   * are no records, and `next` is behind those that do not match.
   */
  filters?: Filter[];
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
  /** In the order of their offsets; empty at the end of the log, or if none matches `filters`. */
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
  /**
   * Encodes the value with this schema of the cluster's registry: its id, or a subject, such as `orders-value`, for the
   * latest one. The value can be anything that is JSON. A text is a JSON string, a `bigint` in an object a string of its
   * digits, and bytes are the JSON itself. By default the value is written as it is.
   */
  valueSchema?: string | number;
  /** As `valueSchema`, for the key. */
  keySchema?: string | number;
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
  /** With a `producer`: whether an earlier try had written the record, and this one did not. */
  readonly duplicate?: boolean;
  /** With a `producer`: the time after a write within which a repeat is recognized, in milliseconds. */
  readonly duplicateWindowMs?: number;
}

/** A topic. */
export interface Topic {
  /** Its name. */
  readonly name: string;
  /** The numbers of its partitions. */
  readonly partitions: readonly number[];
}

/** @internal Fields of a record that applications see. */
export type RecordFields = Pick<
  KafkaMessage,
  "offset" | "timestamp" | "key" | "value" | "valueSchema" | "keySchema" | "keyJson" | "notDecoded"
> &
  HeaderFields;

/** @internal Headers of records and messages. */
export interface HeaderFields {
  headers: Pick<Header, "key" | "value">[];
}

/** @internal */
export function record<T>(
  topic: string,
  partition: number,
  message: RecordFields,
  schema?: Schema<T>,
  assignment?: number,
): TopicRecord<T> {
  const { offset, timestamp, key, value, headers, valueSchema, keySchema, keyJson, notDecoded } = message;
  return {
    topic,
    partition,
    offset: Number(offset),
    timestamp: new Date(Number(timestamp)),
    key: key && new Data(key),
    keyJson: keySchema && new Data(keyJson),
    value: value && new Data(value, schema),
    valueSchema: valueSchema && schemaOf(valueSchema),
    keySchema: keySchema && schemaOf(keySchema),
    notDecoded: notDecoded || undefined,
    headers: headers.map(({ key, value }) => ({ key, value: value && new Data(value) })),
    assignment,
  };
}

/** Neither 0 nor an empty text is one. */
function schemaOf({ id, guid, type }: RegistrySchema): ValueSchema {
  return { id: id || undefined, guid: guid || undefined, type: TYPES[type]! };
}

const TYPES = ["AVRO", "PROTOBUF", "JSON"] as const;

/** @internal The contract's form of a record to write. */
export function newRecord(topic: string, record: NewRecord, at: string) {
  checkRecord(record, at);
  const { partition, key, value, keySchema, valueSchema, headers = [], timestamp } = record;
  return {
    topic,
    partition,
    key: encode(key, `${at}.key`, keySchema !== undefined),
    value: encode(value, `${at}.value`, valueSchema !== undefined),
    keySchema: choice(keySchema),
    valueSchema: choice(valueSchema),
    headers: headers.map(({ key, name, value }) => ({ key: key ?? name, value: encode(value, `${at}.headers`) })),
    timestamp: timestamp && BigInt(timestamp.getTime()),
  };
}

function choice(schema: string | number | undefined) {
  if (schema === undefined) return undefined;
  if (typeof schema === "number") return { of: { case: "id", value: schema } as const };
  return { of: { case: "subject", value: schema } as const };
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

const subjectOrId: Check = (value, at) => (typeof value === "number" ? partition : name)(value, at);

const checkRecord = members(
  {
    partition,
    key: content,
    value: content,
    valueSchema: subjectOrId,
    keySchema: subjectOrId,
    headers,
    timestamp: date,
  },
  ["value"],
);

/** @internal Options that reads of topics and streams share. */
export const read = {
  ...command,
  wait: integer(0, 30_000),
  maxBytes: integer(0, 2 ** 32 - 1),
  filters: checkFilters,
  schema,
};

/** @internal */
export const checkFetch = members({ ...read, maxRecords: integer(0, 2 ** 32 - 1), committed: flag, decode: flag });

/** @internal */
export const checkWrite: (options: WriteOptions, at: string) => void = members({ ...command, timeout: duration });

/** @internal */
export const checkProduce: (options: ProduceOptions, at: string) => void = members({
  ...command,
  timeout: duration,
  producer: members({ id: name, epoch: partition, sequence: partition, age: integer() }, [
    "id",
    "epoch",
    "sequence",
    "age",
  ]),
});
