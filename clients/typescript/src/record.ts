// Records as applications see them.

import type { KafkaMessage } from "./generated/pubsub_pb.ts";

/** The bytes of a key, a value or a header. */
export class Data {
  readonly bytes: Uint8Array;

  /** @internal */
  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  /** As UTF-8. Bytes that are not are replaced by U+FFFD. */
  text(): string {
    return decoder.decode(this.bytes);
  }

  /**
   * As JSON.
   *
   * @throws SyntaxError if it is not JSON.
   */
  json(): any {
    return JSON.parse(this.text());
  }
}

/** A record of a topic. */
export interface Record {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
  readonly timestamp: Date;
  /** Undefined: null. */
  readonly key: Data | undefined;
  /** Undefined: null, which deletes the key from a compacted topic. */
  readonly value: Data | undefined;
  /** In the record's order; a name can be repeated. */
  readonly headers: readonly { readonly name: string; readonly value: Data | undefined }[];
}

/** What can be written as a key, a value or a header. An object is written as JSON. */
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
  if (content instanceof Uint8Array) return content;
  return encoder.encode(typeof content === "string" ? content : JSON.stringify(content));
}

function data(bytes: Uint8Array | undefined): Data | undefined {
  return bytes && new Data(bytes);
}

const decoder = new TextDecoder();
const encoder = new TextEncoder();
