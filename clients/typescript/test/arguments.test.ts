import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";

import { connect, type Gate, type Member, positionsIn } from "../src/tables.ts";
import { Server } from "./server.ts";
import { Stream } from "./stream.ts";

const URL = "ws://gateway/";

/** As plain JavaScript sees a client. */
type Untyped = { [member in keyof Gate]: (...args: unknown[]) => Promise<unknown> };

/** Calls that are wrong, and what they are told. */
async function refused(gate: Gate, calls: [(gate: Untyped) => unknown, string][]): Promise<void> {
  for (const [call, message] of calls) {
    await assert.rejects(async () => call(gate as unknown as Untyped), { name: "TypeError", message });
  }
}

const MEMBERS = "partition, key, value, valueSchema, keySchema, headers, timestamp";

test("a wrong record is a TypeError, and nothing is written", async () => {
  const server = new Server();
  const gate = connect(URL);
  const cyclic: { self?: unknown } = {};
  cyclic.self = cyclic;
  await refused(gate, [
    [(gate) => gate.produce("t", "hello"), 'produce: record: expected an object with value, got "hello"'],
    [
      (gate) => gate.produce("t", { value: 1 }, { producer: { id: "p", epoch: 0, sequence: -1, age: 0 } }),
      "produce: options.producer.sequence: expected a whole number, 0 to 2147483647, got -1",
    ],
    [
      (gate) => gate.produce("t", { value: 1 }, { producer: { id: "p", epoch: 0, sequence: 0 } }),
      'produce: options.producer.age is missing: got {"id":"p","epoch":0,"sequence":0}',
    ],
    [(gate) => gate.place("t", [{}]), "place: records[0].value is missing, which can be null: got {}"],
    [(gate) => gate.produce("t"), "produce: record: expected an object with value, got undefined"],
    [(gate) => gate.produce("t", { gate: "mine" }), `produce: record.gate is unknown: expected ${MEMBERS}`],
    [(gate) => gate.produce("t", { vlaue: 1 }), `produce: record.vlaue is unknown: expected ${MEMBERS}`],
    [(gate) => gate.produce("t", { constructor: 1 }), `produce: record.constructor is unknown: expected ${MEMBERS}`],
    [(gate) => gate.produce("t", { key: "k" }), 'produce: record.value is missing, which can be null: got {"key":"k"}'],
    [(gate) => gate.produce("t", { value: undefined }), "produce: record.value is missing, which can be null: got {}"],
    [
      (gate) => gate.produce("t", { value: () => {} }),
      "produce: record.value: expected a string, bytes or JSON, got [object Function]",
    ],
    [
      (gate) => gate.produce("t", { value: Promise.resolve(1) }),
      "produce: record.value: expected a string, bytes or JSON, got [object Promise]",
    ],
    [
      (gate) => gate.produce("t", { value: new Map([[1, 2]]) }),
      "produce: record.value: expected a string, bytes or JSON, got [object Map]",
    ],
    [(gate) => gate.produce("t", { value: NaN }), "produce: record.value: expected a string, bytes or JSON, got NaN"],
    [
      (gate) => gate.produce("t", { value: -Infinity }),
      "produce: record.value: expected a string, bytes or JSON, got -Infinity",
    ],
    [
      (gate) => gate.produce("t", { value: new Date(NaN) }),
      "produce: record.value: expected a string, bytes or JSON, got [object Date]",
    ],
    [
      (gate) => gate.produce("t", { value: 1, headers: { a: "b" } }),
      'produce: record.headers: expected a list of { key, value }, got {"a":"b"}',
    ],
    [
      (gate) => gate.produce("t", { value: 1, headers: [{ key: "a", name: "a" }] }),
      "produce: record.headers[0]: has key and name, expected one of them",
    ],
    [
      (gate) => gate.produce("t", { value: 1, headers: [{ name: "a", vlaue: "b" }] }),
      "produce: record.headers[0].vlaue is unknown: expected key, value",
    ],
    [
      (gate) => gate.produce("t", { value: 1, headers: [{ value: "a" }] }),
      'produce: record.headers[0].key is missing: got {"value":"a"}',
    ],
    [
      (gate) => gate.produce("t", { value: 1, headers: [null] }),
      "produce: record.headers[0]: expected an object with key, got null",
    ],
    [
      (gate) => gate.produce("t", { value: 1, partition: "0" }),
      'produce: record.partition: expected a whole number, 0 to 2147483647, got "0"',
    ],
    [
      (gate) => gate.produce("t", { value: 1, valueSchema: 1.5 }),
      "produce: record.valueSchema: expected a whole number, 0 to 2147483647, got 1.5",
    ],
    [
      (gate) => gate.produce("t", { value: 1, keySchema: {} }),
      "produce: record.keySchema: expected a string that is not empty, got {}",
    ],
    [
      (gate) => gate.produce("t", { value: 1, timestamp: 5 }),
      "produce: record.timestamp: expected a valid Date, got 5",
    ],
    [
      (gate) => gate.produce("t", { value: 1 }, { timeuot: 1 }),
      "produce: options.timeuot is unknown: expected signal, timeout, producer",
    ],
    [
      (gate) => gate.produce("t", { value: 1 }, { timeout: Infinity }),
      "produce: options.timeout: expected a whole number, 1 to 2147483647, got Infinity",
    ],
    [(gate) => gate.produce("", { value: 1 }), 'produce: topic: expected a string that is not empty, got ""'],
    [(gate) => gate.produce("t", []), "produce: records: expected 1 to 1000 in a list, got 0"],
    [(gate) => gate.produce("t", [{ value: 1 }, "x"]), 'produce: records[1]: expected an object with value, got "x"'],
  ]);
  await assert.rejects(gate.produce("t", { value: cyclic }), {
    name: "TypeError",
    message: /^produce: record\.value: .*circular/,
  });
  assert.equal(server.opened, 0);
  gate.close();
});

test("a wrong message is a TypeError, and nothing is published", async () => {
  const server = new Server(new Stream());
  const gate = connect(URL);
  const to = { stream: "s", subject: "a" };
  await refused(gate, [
    [(gate) => gate.publish("s", "hello"), 'publish: options: expected an object with signal, timeout, got "hello"'],
    [(gate) => gate.publish("s"), 'publish: message: expected an object with stream and subject and data, got "s"'],
    [
      (gate) => gate.publish(to),
      'publish: message.data is missing, which can be null: got {"stream":"s","subject":"a"}',
    ],
    [
      (gate) => gate.publish({ ...to, value: 1 }),
      "publish: message.value is unknown: expected stream, subject, data, headers, messageId",
    ],
    [
      (gate) => gate.publish({ subject: "a", data: 1 }),
      'publish: message.stream is missing: got {"subject":"a","data":1}',
    ],
  ]);
  assert.equal(server.opened, 0);
  gate.close();
});

test("null and everything that is JSON is written as it is", async () => {
  const server = new Server();
  const gate = connect(URL);
  const written: unknown[] = [];
  server.answer = (req) => {
    if (req.case !== "cmdKafkaProduce") return undefined;
    const [record] = req.value.records;
    written.push(record?.value && new TextDecoder().decode(record.value));
    return { case: "kafkaProduceResp", value: { results: [{ offset: 1n }] } };
  };
  class Order {
    id = 1;
  }
  const values = [
    null,
    "",
    "text",
    "null",
    "{}",
    "[]",
    1,
    false,
    {},
    Object.create(null),
    [],
    new Order(),
    new Date(0),
    new Uint8Array([65]),
    new Uint8Array([66]).buffer,
  ];
  for (const value of values) await gate.produce("t", { value });
  assert.deepEqual(written, [
    undefined,
    "",
    "text",
    "null",
    "{}",
    "[]",
    "1",
    "false",
    "{}",
    "{}",
    "[]",
    '{"id":1}',
    '"1970-01-01T00:00:00.000Z"',
    "A",
    "B",
  ]);
  gate.close();
});

test("with a schema, everything is written as JSON, also texts and integers of any size", async () => {
  const server = new Server();
  const gate = connect(URL);
  server.answer = () => ({ case: "kafkaProduceResp", value: { results: [{}] } });
  for (const [value, schema, json, of] of [
    ["text", "t-value", '"text"', { case: "subject", value: "t-value" }],
    [{ id: 2n ** 60n }, 7, '{"id":"1152921504606846976"}', { case: "id", value: 7 }],
    [new TextEncoder().encode("[1]"), 7, "[1]", { case: "id", value: 7 }],
    [null, "t-value", undefined, { case: "subject", value: "t-value" }],
    ["text", undefined, "text", undefined],
  ] as const) {
    await gate.produce("t", { key: value, keySchema: schema, value, valueSchema: schema });
    const command = server.commands.at(-1);
    assert(command?.case === "cmdKafkaProduce");
    const { key, keySchema, value: written, valueSchema } = command.value.records[0]!;
    for (const [bytes, choice] of [
      [key, keySchema],
      [written, valueSchema],
    ] as const) {
      assert.deepEqual([bytes && new TextDecoder().decode(bytes), choice?.of], [json, of]);
    }
  }
  gate.close();
});

test("a wrong argument of a read is a TypeError that names it", async () => {
  const server = new Server();
  const gate = connect(URL);
  const from = '"earliest", "latest", a whole number (-N: N before the end), a valid Date, or a time such as "s@-5m"';
  await refused(gate, [
    ...["beginning", "-5m", "s@5m", "s@-5", "s@", "s@2026-01-31", "s@1.5", "s@-99999d", "s@2026-13-31T12:00:00Z"].map(
      (text): [(gate: Untyped) => unknown, string] => [
        (gate) => gate.subscribe("t", { from: text }),
        `subscribe: options.from: expected ${from}, got "${text}"`,
      ],
    ),
    [(gate) => gate.subscribe("t", { from: 0.5 }), `subscribe: options.from: expected ${from}, got 0.5`],
    [
      (gate) => gate.subscribe("t", { from: new Date("?") }),
      `subscribe: options.from: expected ${from}, got Invalid Date`,
    ],
    [
      (gate) => gate.subscribe("t", { window: 0 }),
      "subscribe: options.window: expected a whole number, at least 1, got 0",
    ],
    [
      (gate) => gate.subscribe("t", { onLag: "drop" }),
      'subscribe: options.onLag: expected "wait" or "skip", got "drop"',
    ],
    [(gate) => gate.subscribe("t", { from: 1, last: 5 }), "subscribe: options: from and last exclude each other"],
    [
      (gate) => gate.subscribe("t", { group: "" }),
      'subscribe: options.group: expected a string that is not empty, got ""',
    ],
    ...["partitions", "positions", "onLag"].map((member): [(gate: Untyped) => unknown, string] => {
      const others = { partitions: [0], positions: { load() {}, save() {} }, onLag: "wait" };
      const options = { group: "g", [member]: others[member as keyof typeof others] };
      return [(gate) => gate.subscribe("t", options), `subscribe: options: group and ${member} exclude each other`];
    }),
    [(gate) => gate.subscribe("t", { autoCommit: true }), "subscribe: options.autoCommit: expected a group beside it"],
    [
      async (gate) => ((await gate.subscribe("t")) as unknown as Member).commit(),
      "commit: expected a subscription with a group",
    ],
    [
      async (gate) => ((await gate.subscribe("t", { group: "g" })) as unknown as Member).commit(5 as never),
      "commit: expected records of this loop, or nothing, got 5",
    ],
    [
      (gate) => gate.subscribe("t", { partitions: [] }),
      "subscribe: options.partitions: expected 1 to 1000 partitions, got 0",
    ],
    [
      (gate) => gate.subscribe("t", { filters: [{ prefix: "a" }] }),
      "subscribe: options.filters[0].prefix is unknown: expected header, value, equals, prefixes, above, below, exists",
    ],
    [
      (gate) => gate.subscribe("t", { filters: [{ value: "/a", above: "5" }] }),
      'subscribe: options.filters[0].above: expected a number, got "5"',
    ],
    [
      (gate) => gate.subscribe("t", { positions: "p" }),
      'subscribe: options.positions: expected an object with load() and save(), got "p"',
    ],
    [(gate) => gate.subscribe("t", { schema: {} }), "subscribe: options.schema: expected a Standard Schema, got {}"],
    [
      (gate) => gate.subscribe("t", "earliest"),
      'subscribe: options: expected an object with signal, schema, from, last, filters, onLag, window, positions, onEvent, partitions, committed, decode, group, autoCommit, got "earliest"',
    ],
    [
      (gate) => gate.subscribe({ topic: "t" }),
      'subscribe: expected a topic\'s name, a list of names, or an object with streams, got {"topic":"t"}',
    ],
    [
      (gate) => gate.subscribe(),
      "subscribe: expected a topic's name, a list of names, or an object with streams, got undefined",
    ],
    [(gate) => gate.subscribe([]), "subscribe: topics: expected 1 to 100 names, got 0"],
    [
      (gate) => gate.subscribe({ streams: "s" }, { from: 1 }),
      'subscribe: options: expected none beside an object with streams, got {"from":1}',
    ],
    [
      (gate) => gate.fetch(),
      "fetch: expected a topic's name, a partition and an offset, or an object with stream and sequence, got undefined",
    ],
    [(gate) => gate.fetch("t"), "fetch: partition: expected a whole number, 0 to 2147483647, got undefined"],
    [(gate) => gate.fetch("t", 0, 1.5), "fetch: offset: expected a whole number, at least 0, got 1.5"],
    [
      (gate) => gate.fetch("t", 0, 0, { wait: 30_001 }),
      "fetch: options.wait: expected a whole number, 0 to 30000, got 30001",
    ],
    [(gate) => gate.fetch("t", 0, 0, { filters: {} }), "fetch: options.filters: expected a list of filters, got {}"],
    [(gate) => gate.fetch({ stream: "s" }), 'fetch: options.sequence is missing: got {"stream":"s"}'],
    [
      (gate) => gate.offsets("t", "beginning"),
      'offsets: at: expected "earliest", "latest" or a valid Date, got "beginning"',
    ],
    [(gate) => gate.sequence("s", 5), 'sequence: at: expected "earliest", "latest" or a valid Date, got 5'],
    [(gate) => gate.topics(["a"]), 'topics: prefix: expected a string, got ["a"]'],
    [(gate) => gate.ping({ signal: 1000 }), "ping: options.signal: expected an AbortSignal, got 1000"],
  ]);
  assert.equal(server.opened, 0);
  gate.close();
});

test("a wrong argument of a table is a TypeError that names it, and nothing is sent", async () => {
  const server = new Server();
  const gate = connect(URL);
  await refused(gate, [
    [(gate) => gate.table(), "table: expected a topic's name, or an object with stream, got undefined"],
    [(gate) => gate.table(""), 'table: topic: expected a string that is not empty, got ""'],
    [(gate) => gate.table(["t"]), 'table: expected a topic\'s name, or an object with stream, got ["t"]'],
    [
      (gate) => gate.table({ streams: "s" }),
      'table: expected a topic\'s name, or an object with stream, got {"streams":"s"}',
    ],
    [(gate) => gate.table({ stream: "s" }, {}), "table: options: expected none beside an object with stream, got {}"],
    [
      (gate) => gate.table({ stream: "s", partitions: [0] }),
      "table: options.partitions is unknown: expected signal, schema, filters, onEvent, store, identity, decode, stream",
    ],
    [
      (gate) => gate.table("t", { from: "latest" }),
      "table: options.from is unknown: expected signal, schema, filters, onEvent, store, identity, decode, partitions",
    ],
    [(gate) => gate.table("t", { store: "mine" }), 'table: options.store: expected true or false, got "mine"'],
    [
      (gate) => gate.table("t", { decode: "json" }),
      'table: options.decode: expected true, false or a function, got "json"',
    ],
    [(gate) => gate.table({ stream: "s", decode: true }), "table: options.decode: expected a function, got true"],
    [
      (gate) => gate.table("t", { identity: "" }),
      'table: options.identity: expected a string that is not empty, got ""',
    ],
    [
      (gate) => gate.table("t", { filters: [{ prefix: "a" }] }),
      "table: options.filters[0].prefix is unknown: expected header, value, equals, prefixes, above, below, exists",
    ],
    [
      (gate) => gate.table("t", { filters: [{ equals: [Number.NaN] }] }),
      "filters: expected a string, bytes or JSON, got NaN",
    ],
  ]);
  assert.equal(server.opened, 0);
  gate.close();
});

test("tables are missing without their entry, and say so", () => {
  const script = `
    import { connect } from "./dist/index.js";
    try { connect("ws://gateway/").table("t"); } catch (error) { console.log(String(error)); }
    await import("./dist/tables.js");
    console.log(connect("ws://gateway/").table("t", { signal: AbortSignal.abort() }).status);`;
  const output = execFileSync("node", ["--input-type=module", "--eval", script], { encoding: "utf8" });
  const missing = 'TypeError: tables are missing: expected import { connect } from "sluicegate/tables"';
  assert.equal(output, `${missing}\nclosed\n`);
});

test("a wrong argument of `connect` is a TypeError that shows no token", () => {
  const untyped = connect as (...args: unknown[]) => unknown;
  for (const [args, message] of [
    [[], "connect: url: expected the address of a route, got undefined"],
    [["/pubsub?token"], "connect: url: expected a complete URL such as wss://gateway.example/pubsub"],
    [["mailto:8080"], "connect: url: expected ws:// or wss:// before the host"],
    [["127.0.0.1:8080/pubsub?token"], "connect: url: expected ws:// or wss:// before the host"],
    [["[::1]:8080"], "connect: url: expected ws:// or wss:// before the host"],
    [["token:/pubsub"], "connect: url: expected ws: or wss:, got token:"],
    [["ws://u:token@g/?token#"], "connect: url: expected a URL without a fragment (#)"],
    [[URL, "token"], "connect: options: expected an object with protocols, refresh, signal, got string"],
    [[{ url: URL, token: "token" }], "connect: url: expected the address of a route, got object"],
    [[URL, ["token"]], "connect: options: expected an object with protocols, refresh, signal, got object"],
    [[URL, { refresh: "token" }], "connect: options.refresh: expected a function, got string"],
    [[URL, { signal: "token" }], "connect: options.signal: expected an AbortSignal, got string"],
    [[URL, { protocols: "token" }], "connect: options.protocols: expected a list of strings, got string"],
    [[URL, { token: "token" }], "connect: options.token is unknown: expected protocols, refresh, signal"],
  ] as const) {
    assert.throws(() => untyped(...args), { name: "TypeError", message });
  }
  assert.throws(() => positionsIn("p" as never, "p"), {
    message: 'positionsIn: storage: expected localStorage, sessionStorage or a function that returns it, got "p"',
  });
});

test("a closed client says so at once", async () => {
  new Server();
  const gate = connect(URL);
  gate.close();
  const closed = {
    name: "GateError",
    reason: "closed",
    message: "the client is closed: expected a new one, from connect()",
  };
  assert.throws(() => gate.subscribe("t"), closed);
  assert.throws(() => gate.subscribe({ streams: "s" }), closed);
  assert.throws(() => gate.table("t"), closed);
  await assert.rejects(gate.produce("t", { value: null }), closed);
  gate.reconnect();
  gate.retryNow();
  assert.equal(gate.status.state, "closed");
});
