// The bytes that a record or message counts against a subscription's credit: its size on the wire, with tag and length.

import type { Header, KafkaMessage, NatsMessage, Schema } from "./generated/pubsub_pb.ts";

type Rest = Pick<KafkaMessage | NatsMessage, "timestamp" | "headers" | "$unknown">;

export function recordCost({ offset, key, value, timestampType, ...rest }: KafkaMessage): number {
  const { valueSchema, keySchema, keyJson, notDecoded } = rest;
  const fields = number(1, offset) + optional(key) + optional(value) + (timestampType ? 3 : 0);
  // Few records have a text, and encoding takes time.
  const text = notDecoded ? utf8.encode(notDecoded).length : 0;
  const decoded = schema(valueSchema) + schema(keySchema) + long(keyJson.length) + long(text);
  return bytes(1, fields + decoded + common(rest));
}

export function messageCost({ sequence, subject, data, ...rest }: NatsMessage): number {
  const fields = number(1, sequence) + implicit(utf8.encode(subject).length) + implicit(data.length);
  return bytes(1, fields + common(rest));
}

function common({ timestamp, headers, $unknown = [] }: Rest): number {
  return (
    number(1, timestamp) +
    headers.reduce((sum, header) => sum + bytes(2, headerSize(header)), 0) +
    // Fields of a newer bridge.
    $unknown.reduce((sum, { no, data }) => sum + varint(no * 8) + data.length, 0)
  );
}

function headerSize({ key, value }: Header): number {
  return implicit(utf8.encode(key).length) + optional(value);
}

/** A number that is not the default, 0. */
function number(tag: number, value: bigint): number {
  return value ? tag + varint(Number(value)) : 0;
}

/** A field that is absent if it is empty. */
function implicit(length: number): number {
  return length ? bytes(1, length) : 0;
}

/** The same, with a tag of two bytes. */
function long(length: number): number {
  return length && bytes(2, length);
}

function schema(schema: Schema | undefined): number {
  if (!schema) return 0;
  const { id, guid, type } = schema;
  return bytes(2, (id && 1 + varint(id)) + implicit(guid.length) + (type && 2));
}

function optional(value: Uint8Array | undefined): number {
  return value ? bytes(1, value.length) : 0;
}

function bytes(tag: number, length: number): number {
  return tag + varint(length) + length;
}

/** Negative numbers have all 64 bits. */
function varint(value: number): number {
  return value < 0 ? 10 : value < 128 ? 1 : 1 + varint(value / 128);
}

const utf8 = new TextEncoder();
