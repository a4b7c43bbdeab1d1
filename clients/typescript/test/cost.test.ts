import assert from "node:assert/strict";
import { test } from "node:test";

import { create, toBinary } from "@bufbuild/protobuf";

import { messageCost, recordCost } from "../src/cost.ts";
import {
  KafkaDeliveryRespSchema,
  KafkaMessageSchema,
  NatsDeliveryRespSchema,
  NatsMessageSchema,
} from "../src/generated/pubsub_pb.ts";

const bytes = (length: number) => new Uint8Array(length);
const headers = [{}, { key: "ä" }, { key: "h", value: bytes(0) }, { key: "long", value: bytes(300) }];

test("the cost of records is their size in a delivery", () => {
  const records = [
    {},
    { offset: 1n, timestamp: 1_700_000_000_000n, key: bytes(0) },
    { offset: 2n ** 62n, timestamp: -1n, value: bytes(127) },
    { offset: 127n, key: bytes(128), value: bytes(70_000), timestampType: 1 },
    { offset: 128n, headers },
    { valueSchema: {}, keySchema: { id: 128, guid: "g".repeat(36), type: 2 }, keyJson: bytes(200), notDecoded: "ä" },
  ].map((record) => create(KafkaMessageSchema, record));
  for (const record of records) {
    const delivery = create(KafkaDeliveryRespSchema, { messages: [record] });
    assert.equal(recordCost(record), toBinary(KafkaDeliveryRespSchema, delivery).length);
  }
});

test("the cost of messages is their size in a delivery", () => {
  const messages = [
    {},
    { sequence: 1n, timestamp: 1_700_000_000_000n, subject: "ä" },
    { sequence: 2n ** 62n, timestamp: -1n, subject: "s".repeat(128), data: bytes(127) },
    { sequence: 128n, data: bytes(70_000), headers },
  ].map((message) => create(NatsMessageSchema, message));
  for (const message of messages) {
    const delivery = create(NatsDeliveryRespSchema, { messages: [message] });
    assert.equal(messageCost(message), toBinary(NatsDeliveryRespSchema, delivery).length);
  }
});
