// The bytes that a message counts against a subscription's credit: its size on the wire, with tag and length.

import type { KafkaMessage } from "./generated/pubsub_pb.ts";

export function cost({ offset, timestamp, key, value, headers, timestampType, $unknown = [] }: KafkaMessage): number {
  const fields =
    number(1, offset) +
    number(1, timestamp) +
    (key ? bytes(1, key.length) : 0) +
    (value ? bytes(1, value.length) : 0) +
    headers.reduce((sum, header) => {
      const name = utf8.encode(header.key).length;
      return sum + bytes(2, (name && bytes(1, name)) + (header.value ? bytes(1, header.value.length) : 0));
    }, 0) +
    number(2, BigInt(timestampType)) +
    // Fields of a newer bridge.
    $unknown.reduce((sum, { no, data }) => sum + varint(BigInt(no << 3)) + data.length, 0);
  return bytes(1, fields);
}

/** A number that is not the default, 0. */
function number(tag: number, value: bigint): number {
  return value === 0n ? 0 : tag + varint(BigInt.asUintN(64, value));
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
