// Records as applications see them.

import type { KafkaMessage } from "./generated/pubsub_pb.ts";

/** The bytes of a key, a value, a header or a payload. */
export class Data {
  /** The bytes as Kafka or NATS has them. */
  readonly bytes: Uint8Array;

  /** @internal */
  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  /** Decodes UTF-8. Invalid bytes become U+FFFD. */
  text(): string {
    return decoder.decode(this.bytes);
  }

  /**
   * Parses JSON.
   *
   * @throws SyntaxError if it is not JSON.
   */
  json(): any {
    return JSON.parse(this.text());
  }
}

/** A record of a topic. */
export interface Record {
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
  readonly value: Data | undefined;
  /** The headers in their order; a name can be repeated. */
  readonly headers: readonly { readonly name: string; readonly value: Data | undefined }[];
}

/** A key, a value, a header or a payload to write. Strings are written as UTF-8, bytes as they are, everything else as JSON. */
export type Content = string | Uint8Array | object | number | boolean | null;

/** @internal */
export function record(topic: string, partition: number, message: KafkaMessage): Record {
  return {
    topic,
    partition,
    offset: Number(message.offset),
    timestamp: new Date(Number(message.timestamp)),
    key: data(message.key),
    value: data(message.value),
    headers: message.headers.map(({ key, value }) => ({ name: key, value: data(value) })),
  };
}

/** @internal Null is undefined. */
export function encode(content: Content | undefined): Uint8Array | undefined {
  if (content === null || content === undefined) return undefined;
  if (content instanceof ArrayBuffer) return new Uint8Array(content);
  if (ArrayBuffer.isView(content)) return new Uint8Array(content.buffer, content.byteOffset, content.byteLength);
  const text = typeof content === "string" ? content : JSON.stringify(content);
  if (text === undefined) throw new TypeError("expected a string, bytes or JSON");
  return encoder.encode(text);
}

/** @internal Null is empty. */
export function bytes(content: Content | undefined): Uint8Array {
  return encode(content) ?? new Uint8Array();
}

function data(bytes: Uint8Array | undefined): Data | undefined {
  return bytes && new Data(bytes);
}

const decoder = new TextDecoder();
const encoder = new TextEncoder();
