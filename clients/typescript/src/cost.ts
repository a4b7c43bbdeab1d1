// The bytes that a record or message counts against a subscription's credit: its size on the wire, with tag and length.

import type { Header, KafkaMessage, NatsMessage } from "./generated/pubsub_pb.ts";

type Rest = Pick<KafkaMessage | NatsMessage, "timestamp" | "headers" | "$unknown">;

export function recordCost({ offset, key, value, timestampType, ...rest }: KafkaMessage): number {
  const fields = number(1, offset) + optional(key) + optional(value) + number(2, BigInt(timestampType));
  return bytes(1, fields + common(rest));
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
    $unknown.reduce((sum, { no, data }) => sum + varint(BigInt(no << 3)) + data.length, 0)
  );
}

function headerSize({ key, value }: Header): number {
  return implicit(utf8.encode(key).length) + optional(value);
}

/** A number that is not the default, 0. */
function number(tag: number, value: bigint): number {
  return value === 0n ? 0 : tag + varint(BigInt.asUintN(64, value));
}

/** A field that is absent if it is empty. */
function implicit(length: number): number {
  return length && bytes(1, length);
}

function optional(value: Uint8Array | undefined): number {
  return value ? bytes(1, value.length) : 0;
}

function bytes(tag: number, length: number): number {
  return tag + varint(BigInt(length)) + length;
}

function varint(value: bigint): number {
  let length = 1;
  for (; value > 127n; value >>= 7n) length += 1;
  return length;
}

const utf8 = new TextEncoder();
