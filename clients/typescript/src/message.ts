// Messages of NATS JetStream as applications see them.

import { integer, members, name } from "./check.ts";
import { bytes, type Content, Data, type Schema } from "./data.ts";
import type { Filter } from "./filter.ts";
import type { NatsMessage } from "./generated/pubsub_pb.ts";
import type { CommandOptions } from "./options.ts";
import { type HeaderFields, headers, type NewHeader, read } from "./record.ts";

/**
 * A message of a stream.
 *
 * @typeParam T the type of its payload.
 */
export interface StreamMessage<T = any> {
  /** The stream's name. */
  readonly stream: string;
  /** The sequence in the stream. */
  readonly sequence: number;
  /** The time at which the stream stored the message. */
  readonly timestamp: Date;
  /** The subject that the message was published to. */
  readonly subject: string;
  /** The payload; it can be empty. */
  readonly data: Data<T>;
  /** The headers, sorted by key. A key can be repeated; its values are in their order. */
  readonly headers: readonly { readonly key: string; readonly value: Data }[];
}

/**
 * The settings of {@link Gate.fetch} for streams.
 *
 * @typeParam T the type of payloads.
 */
export interface StreamFetchOptions<T = any> extends CommandOptions {
  /** The stream. */
  stream: string;
  /** The sequence to read from; if its message was deleted, from the next one. 0 reads from the first message. */
  sequence: number;
  /** Limit of the wait for a message at the end of the stream, in milliseconds, at most 30,000. By default 0. */
  wait?: number;
  /**
   * The most bytes to read; one message can exceed it. By default, and at most, what the bridge allows
   * (`read.max_bytes`).
   */
  maxBytes?: number;
  /** The most messages to read. By default as many as fit in `maxBytes`. */
  maxMessages?: number;
  /** As {@link FetchOptions.filters}. */
  filters?: Filter[];
  /**
   * Validates payloads: {@link Data.json} returns `undefined` for those that it does not allow. By default no payload
   * is validated.
   */
  schema?: Schema<T>;
}

/**
 * Messages of a stream, read by {@link Gate.fetch}.
 *
 * @typeParam T the type of payloads.
 */
export interface StreamFetched<T = any> {
  /** In the order of their sequences; empty at the end of the stream, or if none matches `filters`. */
  readonly messages: readonly StreamMessage<T>[];
  /** The sequence to read on from. */
  readonly next: number;
  /** The sequence that the next message of the stream will get; −1 if unknown. */
  readonly end: number;
}

/** A message to publish. */
export interface NewMessage {
  /** The stream. It must exist, and store the subject. */
  stream: string;
  /** The subject, without wildcards. */
  subject: string;
  /** The payload. `null` is empty. */
  data: Content;
  /** The headers, at most 100; a key can be repeated. Keys that begin with `Nats-` are for servers: they are left out, or rejected. */
  headers?: NewHeader[];
  /**
   * An idempotency key (`Nats-Msg-Id`). However often a message with the same `messageId` is published, the stream
   * stores it once within its duplicate window. By default none.
   */
  messageId?: string;
}

/** Where a message was published. */
export interface Published {
  /** The sequence; of a duplicate, that of the message that the stream already had. */
  readonly sequence: number;
  /** Whether the stream already had a message with this `messageId`, and stored nothing. */
  readonly duplicate: boolean;
  /** Time in which the stream detects duplicates of this `messageId`, in milliseconds; 0 without a `messageId`. */
  readonly duplicateWindowMs: number;
}

/** @internal Fields of a message that applications see. */
export type MessageFields = Pick<NatsMessage, "sequence" | "timestamp" | "subject" | "data"> & HeaderFields;

/** @internal */
export function streamMessage<T>(stream: string, message: MessageFields, schema?: Schema<T>): StreamMessage<T> {
  const { sequence, timestamp, subject, data, headers } = message;
  return {
    stream,
    sequence: Number(sequence),
    timestamp: new Date(Number(timestamp)),
    subject,
    data: new Data(data, schema),
    headers: headers.map(({ key, value = EMPTY }) => ({ key, value: new Data(value) })),
  };
}

/** @internal The contract's form of a message to publish. */
export function newMessage(message: NewMessage, at: string) {
  checkMessage(message, at);
  const { stream, subject, data, headers = [], messageId } = message;
  return {
    stream,
    subject,
    data: bytes(data, `${at}.data`),
    headers: headers.map(({ key, name, value }) => ({ key: key ?? name, value: bytes(value, `${at}.headers`) })),
    messageId,
  };
}

const checkMessage = members({ stream: name, subject: name, data: () => {}, headers, messageId: name }, [
  "stream",
  "subject",
  "data",
]);

/** @internal */
export const checkStreamFetch = members(
  { ...read, stream: name, sequence: integer(), maxMessages: integer(0, 2 ** 32 - 1) },
  ["stream", "sequence"],
);

const EMPTY = new Uint8Array();
