import assert from "node:assert/strict";
import { test } from "node:test";

import { create } from "@bufbuild/protobuf";

import { Data } from "../src/data.ts";
import { KafkaMessageSchema } from "../src/generated/pubsub_pb.ts";
import { connect, type Schema, type TopicRecord } from "../src/index.ts";
import { Server } from "./server.ts";
import { Stream } from "./stream.ts";

const URL = "ws://gateway/";
const utf8 = new TextEncoder();

interface Order {
  id: number;
}

/** As a library of Standard Schema makes it. */
const orders: Schema<Order> = {
  "~standard": {
    version: 1,
    vendor: "test",
    validate: (value) => {
      const id = Number((value as Order | null)?.id);
      return Number.isInteger(id) ? { value: { id } } : { issues: [{ message: "expected an id" }] };
    },
  },
};

test("JSON is parsed, and what is not JSON is undefined", () => {
  for (const [text, expected] of [
    ['{"a":1}', { a: 1 }],
    ["null", null],
    ["v1", undefined],
    ["", undefined],
  ] as const) {
    assert.deepEqual(new Data(utf8.encode(text)).json(), expected, text);
  }
});

test("template strings and `JSON.stringify` show values", () => {
  const show = (bytes: Uint8Array) => [`${new Data(bytes)}`, JSON.stringify(new Data(bytes))];
  assert.deepEqual(show(utf8.encode('{"a": 1}')), ['{"a": 1}', '{"a":1}']);
  assert.deepEqual(show(utf8.encode("v1")), ["v1", '"v1"']);
  assert.deepEqual(show(new Uint8Array([0xff, 0])), ["\ufffd\0", '{"base64":"/wA="}']);
});

test("records that are not JSON, or have no value, do not end a loop", async () => {
  const server = new Server();
  const values = ['{"id":1}', "v1", undefined, '{"id":"x"}', '{"id":"2"}'].map((text) => text && utf8.encode(text));
  const messages = values.map((value, offset) =>
    create(KafkaMessageSchema, { offset: BigInt(offset), value: value as Uint8Array<ArrayBuffer> }),
  );
  server.logs[0]!.push(...messages);
  const gate = connect(URL);
  const take = async (schema?: Schema<Order>) => {
    const seen: unknown[] = [];
    for await (const { value } of gate.subscribe<Order>("t", { from: "earliest", schema })) {
      seen.push(value?.json());
      if (seen.length === values.length) return seen;
    }
  };
  assert.deepEqual(await take(), [{ id: 1 }, undefined, undefined, { id: "x" }, { id: "2" }]);
  assert.deepEqual(await take(orders), [{ id: 1 }, undefined, undefined, undefined, { id: 2 }]);
  server.answer = (req) => (req.case === "cmdKafkaFetch" ? { case: "kafkaFetchResp", value: { messages } } : undefined);
  const { records } = await gate.fetch("t", 0, 0, { schema: orders });
  assert.deepEqual(
    records.map(({ value }) => value?.json()?.id),
    [1, undefined, undefined, undefined, 2],
  );
  gate.close();
});

/** As a bridge with schemas has them: decoded, not decoded, and without a schema. */
const decoded = [
  {
    ...{ key: new Uint8Array([0, 1]), keySchema: { guid: "6f8a", type: 2 }, keyJson: utf8.encode('"k"') },
    ...{ value: utf8.encode('{"id":1}'), valueSchema: { id: 7 } },
  },
  { value: new Uint8Array([0, 9]), notDecoded: "value: schema 9 is unknown" },
  { key: utf8.encode("k"), value: utf8.encode('{"id":2}') },
].map((message, offset) => create(KafkaMessageSchema, { offset: BigInt(offset), ...message }));

test("decoded values are JSON with their schema, and others say why they are not", async () => {
  const server = new Server();
  server.logs[0]!.push(...decoded);
  server.answer = (req) =>
    req.case === "cmdKafkaFetch" ? { case: "kafkaFetchResp", value: { messages: decoded } } : undefined;
  const gate = connect(URL);
  const taken: TopicRecord<Order>[] = [];
  for await (const record of gate.subscribe<Order>("t", { from: "earliest", decode: true })) {
    if (taken.push(record) === decoded.length) break;
  }
  const { records } = await gate.fetch<Order>("t", 0, 0, { decode: true });
  for (const [first, second, third] of [taken, records]) {
    assert.deepEqual(
      [first, second, third].map((record) => record?.value?.json()?.id),
      [1, undefined, 2],
    );
    assert.deepEqual(first!.valueSchema, { id: 7, guid: undefined, type: "AVRO" });
    assert.deepEqual(first!.keySchema, { id: undefined, guid: "6f8a", type: "JSON" });
    assert.deepEqual([first!.keyJson?.json(), first!.key?.bytes], ["k", new Uint8Array([0, 1])]);
    assert.deepEqual(
      [first, second, third].map((record) => record?.notDecoded),
      [undefined, "value: schema 9 is unknown", undefined],
    );
    assert.deepEqual([third!.valueSchema, third!.keySchema, third!.keyJson], [undefined, undefined, undefined]);
  }
  await gate.fetch("t", 0, 0);
  const asked = server.commands.flatMap(({ value }) => (value && "decode" in value ? [value.decode] : []));
  assert.deepEqual(asked, [true, true, false]);
  gate.close();
});

test("payloads of streams are validated too", async () => {
  const stream = new Stream();
  new Server(stream);
  const gate = connect(URL);
  await gate.publish(["v1", { id: 7 }].map((data) => ({ stream: "s", subject: "a", data })));
  const { messages } = await gate.fetch({ stream: "s", sequence: 0, schema: orders });
  assert.deepEqual(
    messages.map(({ data }) => data.json()),
    [undefined, { id: 7 }],
  );
  const loop = gate.subscribe({ streams: "s", from: 2, schema: orders });
  assert.equal((await loop.next()).value?.data.json()?.id, 7);
  gate.close();
});

test("a validator that throws, or returns no result, does not end a loop", () => {
  const fail = () => {
    throw new Error("no order");
  };
  for (const validate of [fail, () => undefined, () => null, () => 5, () => "text"]) {
    const schema = { "~standard": { ...orders["~standard"], validate } } as unknown as Schema<Order>;
    assert.equal(new Data(utf8.encode("1"), schema).json(), undefined);
  }
});

test("an asynchronous validator is a TypeError", () => {
  const asynchronous: Schema<Order> = {
    "~standard": { ...orders["~standard"], validate: async () => ({ value: { id: 1 } }) },
  };
  assert.throws(() => new Data(utf8.encode("1"), asynchronous).json(), {
    name: "TypeError",
    message: "schema: expected a synchronous validator",
  });
});
