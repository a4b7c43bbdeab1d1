import assert from "node:assert/strict";
import { test } from "node:test";

import { create, toBinary } from "@bufbuild/protobuf";

import { cost } from "../src/cost.ts";
import { KafkaDeliveryRespSchema, KafkaMessageSchema } from "../src/generated/pubsub_pb.ts";

test("the cost of messages is their size in a delivery", () => {
  const bytes = (length: number) => new Uint8Array(length);
  const messages = [
    {},
    { offset: 1n, timestamp: 1_700_000_000_000n, key: bytes(0) },
    { offset: 2n ** 62n, timestamp: -1n, value: bytes(127) },
    { offset: 127n, key: bytes(128), value: bytes(70_000), timestampType: 1 },
    { offset: 128n, headers: [{}, { key: "ä" }, { key: "h", value: bytes(0) }, { key: "long", value: bytes(300) }] },
  ].map((message) => create(KafkaMessageSchema, message));
  for (const message of messages) {
    const delivery = create(KafkaDeliveryRespSchema, { messages: [message] });
    assert.equal(cost(message), toBinary(KafkaDeliveryRespSchema, delivery).length);
  }
});
