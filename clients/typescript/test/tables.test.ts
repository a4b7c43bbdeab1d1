import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { setImmediate } from "node:timers/promises";

import { create } from "@bufbuild/protobuf";

import { recordCost } from "../src/cost.ts";
import { type CmdKafkaSubscribe, SchemaSchema } from "../src/generated/pubsub_pb.ts";
import { connect, type Gate, GateError, type Table, type TableEvent, type TableOptions } from "../src/tables.ts";
import { Server } from "./server.ts";
import { type Resp, Stream } from "./stream.ts";

const URL = "ws://gateway/";
const AT = { topic: "t", partition: 0 };

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await setImmediate();
}

let gate: Gate;
beforeEach(() => {
  gate = connect(URL);
});
afterEach(() => gate.close());

function open<T = any>(server: Server, options?: TableOptions<T>) {
  return { server, table: gate.table<T>("t", options) };
}

function subscribed(server: Server): CmdKafkaSubscribe[] {
  return server.commands.flatMap((req) => (req.case === "cmdKafkaSubscribe" ? [req.value] : []));
}

/** Cuts the connection, and waits until the table has subscribed again and caught up. */
async function reconnected(server: Server, table: Table): Promise<CmdKafkaSubscribe> {
  const before = subscribed(server).length;
  server.cut();
  await until(() => subscribed(server).length > before && table.status === "current");
  return subscribed(server).at(-1)!;
}

test("a table is the newest value of each key, and then follows the log", async () => {
  const server = new Server();
  server.put(0, "a", "1");
  server.put(0, "a", "2");
  server.put(1, "b", '{"price":3}');
  server.put(0, "gone", "4");
  server.put(0, "gone");
  server.write(0, 1);
  const { table } = open(server);
  assert.deepEqual([table.status, table.size], ["loading", 0]);
  await table.ready;
  assert.deepEqual(
    [...table],
    [
      ["a", 2],
      ["b", { price: 3 }],
    ],
  );
  assert.deepEqual([[...table.keys()], [...table.values()].length, table.has("gone")], [["a", "b"], 2, false]);
  table.forEach((value, key, map) => void assert.equal(map.get(key), value));
  assert.deepEqual([table.record("a")?.offset, table.record("b")?.partition], [1, 1]);
  server.put(1, "c", "5");
  server.put(0, "a");
  await until(() => !table.has("a"));
  assert.deepEqual([...table.keys()], ["b", "c"]);
  await until(() => table.status === "current");
  gate.close();
  assert.deepEqual([table.status, table.get("c")], ["closed", 5]);
});

test("a table uses no memory of the deliveries it came from", async () => {
  const server = new Server();
  server.put(0, "a", "1");
  Object.assign(server.logs[0]![0]!, { keySchema: create(SchemaSchema), keyJson: new Uint8Array([55]) });
  const { table } = open(server);
  await table.ready;
  const { key, value, keyJson } = table.record("a")!;
  assert.deepEqual(
    [key, value, keyJson].map((data) => data!.bytes.buffer.byteLength),
    [1, 1, 1],
  );
});

test("a table of decoded values has their schemas, and leaves out keys whose value is not decoded", async () => {
  const server = new Server();
  server.put(0, "a", "1");
  server.put(0, "b", "\0");
  Object.assign(server.logs[0]![0]!, { valueSchema: create(SchemaSchema, { id: 7, type: 1 }) });
  Object.assign(server.logs[0]![1]!, { notDecoded: "value: schema 9 is unknown" });
  const { table } = open(server, { decode: true });
  await table.ready;
  assert.deepEqual([...table], [["a", 1]]);
  assert.deepEqual(table.record("a")!.valueSchema, { id: 7, guid: undefined, type: "PROTOBUF" });
  assert.equal(table.record("b")!.notDecoded, "value: schema 9 is unknown");
  await open(server, { decode: (data) => data.text() }).table.ready;
  assert.deepEqual(
    subscribed(server).map(({ decode }) => decode),
    [true, false],
  );
});

test("after a lost connection, a table goes on where it was, and says how long it was away", async (t) => {
  t.mock.method(Math, "random", () => 0);
  const { server, table } = open(new Server());
  server.put(0, "a", "1");
  await until(() => table.get("a") === 1 && table.status === "current");
  let now = Date.now() + 60_000;
  t.mock.method(Date, "now", () => now);
  // The connection broke unnoticed: the laptop was asleep.
  server.put(1, "b", "2");
  await until(() => table.has("b"));
  now += 3_600_000;
  const { sources, awayMs } = await reconnected(server, table);
  assert.deepEqual(
    [sources[0]!.next.map(({ partition, offset }) => [partition, Number(offset)]), sources[0]!.topicId],
    [
      [
        [0, 1],
        [1, 1],
      ],
      new Uint8Array([1, 2, 3]),
    ],
  );
  assert.equal(awayMs, 3_600_000n);
  server.put(0, "a", "3");
  await until(() => table.get("a") === 3);
  assert.equal(table.size, 2);
});

test("a table is away since it had all of its log, however often it is connected and whatever it hears", async (t) => {
  t.mock.method(Math, "random", () => 0);
  const { server, table } = open(new Server());
  await until(() => table.status === "current");
  let now = Date.now() + 60_000;
  t.mock.method(Date, "now", () => now);
  const hears = async () => {
    server.put(1, "b", `${now}`);
    await until(() => table.get("b") === now);
  };
  await hears();
  server.holdsRecords = true;
  for (let cuts = 1; cuts <= 3; cuts++) {
    now += 6_000;
    server.cut();
    await until(() => subscribed(server).length > cuts);
    for (let turn = 0; turn < 10; turn++) await setImmediate();
    assert.equal(subscribed(server).at(-1)!.awayMs, BigInt(cuts * 6_000));
  }
  server.holdsRecords = false;
  const error = { message: "no leader" };
  const behind: Resp[] = [
    { case: "kafkaSubscriptionEvent", value: { event: { case: "retrying", value: { ...AT, error } } } },
    { case: "kafkaDeliveryResp", value: { ...AT, messages: [], nextOffset: 0n, highWatermark: 1n } },
  ];
  for (const resp of behind) {
    await reconnected(server, table);
    await hears();
    server.tell(resp);
    await setImmediate();
    now += 1_000;
    await hears();
    now += 1_000;
    assert.equal((await reconnected(server, table)).awayMs, 2_000n, resp.case);
  }
  await hears();
  // Meanwhile the clock is set back by four seconds.
  const passed = now + 6_000 - performance.timeOrigin;
  t.mock.method(performance, "now", () => passed);
  now += 2_000;
  assert.ok((await reconnected(server, table)).awayMs! > 5_000n);
});

test("a connection that is lost before the snapshot ends begins anew", async (t) => {
  t.mock.method(Math, "random", () => 0);
  const server = new Server();
  server.put(0, "a", "1");
  server.holdsSnapshots = true;
  const { table } = open(server);
  await until(() => table.has("a"));
  assert.equal(table.status, "loading");
  server.logs[0]!.pop();
  server.holdsSnapshots = false;
  const { sources, awayMs } = await reconnected(server, table);
  assert.deepEqual([sources[0]!.next, sources[0]!.topicId.length, awayMs], [[], 0, undefined]);
  assert.equal(table.size, 0);
});

test("another snapshot drops what it does not have, and old entries are visible until its end", async () => {
  const server = new Server();
  server.put(0, "kept", "2");
  server.put(0, "ghost", "1");
  const { table } = open(server);
  const changes = table.changes();
  await changes.next();
  server.logs[0]!.splice(0, 2);
  server.topicId = new Uint8Array([9]);
  server.put(0, "kept", "3");
  server.holdsSnapshots = true;
  server.renew();
  await until(() => table.get("kept") === 3);
  assert.deepEqual([table.get("ghost"), table.status], [1, "stale"]);
  let isHeld = true;
  const next = changes.next().finally(() => {
    isHeld = false;
  });
  for (let turn = 0; turn < 10; turn++) await setImmediate();
  assert.ok(isHeld);
  server.holdsSnapshots = false;
  server.deliver();
  const { value } = await next;
  assert.deepEqual([[...value!.updated], [...value!.removed]], [[["kept", 3]], ["ghost"]]);
});

test("another snapshot of the same log changes nothing that is the same", async () => {
  const server = new Server();
  server.put(0, "a", "1");
  let [decoded, completed] = [0, 0];
  const decode = () => ++decoded;
  const onEvent = ({ type }: TableEvent) => {
    if (type === "complete") completed += 1;
  };
  const { table } = open(server, { decode, onEvent });
  await table.ready;
  server.renew();
  await until(() => completed === 2);
  assert.deepEqual([decoded, table.size], [1, 1]);
  // A new leader can have another record at the same offset.
  server.logs[0] = [];
  server.put(0, "a", "2", 2n);
  server.renew();
  await until(() => completed === 3);
  assert.deepEqual([decoded, table.size], [2, 1]);
});

test("a log that was created again or is too short begins anew", async (t) => {
  t.mock.method(Math, "random", () => 0);
  for (const reason of [2, 13]) {
    const server = new Server();
    server.put(0, "a", "1");
    const { table } = open(server);
    await until(() => table.status === "current");
    server.logs[0]!.length = 0;
    server.answer = (req) => {
      const isBehind = req.case === "cmdKafkaSubscribe" && req.value.sources[0]!.next.length > 0;
      return isBehind ? { case: "errorResp", value: { message: "gone", reason } } : undefined;
    };
    server.cut();
    await until(() => table.status === "current" && table.size === 0);
    assert.equal(subscribed(server).length, 3);
    table.close();
    gate.reconnect();
  }
});

test("other errors end the table", async () => {
  const server = new Server();
  server.answer = () => ({ case: "errorResp", value: { message: "denied", reason: 3 } });
  const events: TableEvent[] = [];
  const { table } = open(server, { onEvent: (event) => events.push(event) });
  const denied = { name: "GateError", reason: "denied" };
  const changes = table.changes();
  await assert.rejects(changes.next(), denied);
  assert.equal((await changes.next()).done, true);
  await assert.rejects(table.ready, denied);
  await assert.rejects(table.changes().next(), denied);
  assert.equal(table.status, "closed");
  assert.ok(events[0]?.type === "status" && (events[0].error as Error).message === "denied");
});

test("the console says why a table has ended, if nothing else does", async (t) => {
  const { mock } = t.mock.method(console, "warn", () => {});
  const server = new Server();
  server.answer = () => ({ case: "errorResp", value: { message: "denied", reason: 3 } });
  for (const [use, said] of [
    [(table: Table) => void table.ready.catch(() => {}), []],
    [
      (table: Table) =>
        void table
          .changes()
          .next()
          .catch(() => {}),
      [],
    ],
    [() => {}, ["sluicegate: a table has ended: GateError: denied"]],
  ] as const) {
    const { table } = open(server);
    use(table);
    await until(() => table.status === "closed");
    assert.deepEqual(
      mock.calls.map(({ arguments: [text] }) => text),
      said,
    );
  }
});

test("a bridge without tables is named", async () => {
  const server = new Server();
  server.answer = (req) =>
    req.case === "cmdKafkaSubscribe" ? { case: "kafkaSubscribedResp", value: { topics: [{ topic: "t" }] } } : undefined;
  await assert.rejects(open(server).table.ready, { message: "the bridge has no tables: expected a newer version" });
});

test("a failure of the page's own code ends the table", async () => {
  const server = new Server();
  server.put(0, "a", "1");
  const fail = (): never => assert.fail("own code");
  const busy = () => {
    throw new GateError("own code", "disconnected", { retriable: true });
  };
  for (const options of [{ decode: fail }, { onEvent: fail }, { decode: busy }]) {
    await assert.rejects(open(server, options).table.changes().next(), /own code/);
    await until(() => server.commands.at(-1)?.case === "cmdUnsubscribe");
  }
});

test("values are no promises", async () => {
  const server = new Server();
  server.put(0, "a", "1");
  const decode = async () => 1;
  await assert.rejects(open(server, { decode }).table.ready, {
    message: "table: options.decode: expected a value instead of a promise",
  });
});

test("records before the log's start are dropped, of this partition only", async () => {
  const server = new Server();
  for (const [partition, key] of [
    [0, "a"],
    [0, "b"],
    [1, "c"],
  ] as const)
    server.put(partition, key, "1");
  const { table } = open(server);
  await table.ready;
  server.tell({
    case: "kafkaSubscriptionEvent",
    value: { event: { case: "logStart", value: { ...AT, offset: 1n } } },
  });
  await until(() => table.size === 2);
  assert.deepEqual([...table.keys()], ["b", "c"]);
});

test("of a key in two partitions, the one with the later timestamp is visible", async () => {
  const { server, table } = open(new Server());
  await table.ready;
  server.put(0, "a", "1", 5n);
  server.put(1, "a", "2", 4n);
  server.put(0, "z", "1");
  await until(() => table.has("z"));
  assert.equal(table.get("a"), 1);
  server.put(1, "a", "3", 5n);
  await until(() => table.get("a") === 3);
  server.put(1, "a", undefined, 6n);
  await until(() => table.get("a") === 1);
  server.put(0, "a", undefined, 1n);
  await until(() => !table.has("a"));
});

test("keys that are not UTF-8 have texts of their own", async () => {
  const server = new Server();
  server.put(0, new Uint8Array([0xff]), "1");
  server.put(0, new Uint8Array([0xfe]), "2");
  server.put(0, "\ufeffa", "3");
  server.put(0, "base64:/w==", "4");
  const { table } = open(server);
  await table.ready;
  assert.deepEqual([...table.keys()], ["base64:/w==", "base64:/g==", "\ufeffa", "base64:YmFzZTY0Oi93PT0="]);
});

test("a value that is not allowed leaves its key out, and `record` has it", async () => {
  const server = new Server();
  server.put(0, "a", "1");
  const { table } = open(server);
  await table.ready;
  server.put(0, "a", "odd");
  await until(() => !table.has("a"));
  assert.deepEqual([table.size, table.record("a")?.value?.text()], [0, "odd"]);
});

test("a slow loop gets the newest change of each key, and nothing of keys that it never had", async () => {
  const { server, table } = open<number>(new Server());
  server.put(0, "a", "0");
  await table.ready;
  const changes = table.changes();
  const first = (await changes.next()).value!;
  assert.deepEqual([...first.updated], [["a", 0]]);
  for (let number = 1; number <= 100; number++) {
    server.put(0, "b", `${number}`);
    server.put(0, `short-${number}`, "1");
    server.put(0, `short-${number}`);
  }
  server.put(0, "a");
  await until(() => !table.has("a"));
  const { updated, removed } = (await changes.next()).value!;
  assert.deepEqual([[...updated], [...removed]], [[["b", 100]], ["a"]]);
  server.put(0, "short", "1");
  server.put(0, "short");
  for (let turn = 0; turn < 10; turn++) await setImmediate();
  const later = changes.next();
  server.put(0, "c", "1");
  assert.deepEqual([...(await later).value!.updated.keys()], ["c"]);
});

test("each loop has all keys first, also those of an empty table, and ends alone", async () => {
  const { server, table } = open(new Server());
  const loop = table.changes();
  for await (const { updated } of loop) {
    assert.equal(updated.size, 0);
    break;
  }
  assert.throws(() => loop[Symbol.asyncIterator](), { reason: "closed" });
  server.holdsSnapshots = true;
  server.renew();
  await until(() => table.status === "stale");
  const early = table.changes();
  server.holdsSnapshots = false;
  server.deliver();
  assert.equal((await early.next()).value!.updated.size, 0);
  server.put(0, "a", "1");
  await until(() => table.has("a"));
  const [one, other] = [table.changes(), table.changes()];
  for (const changes of [one, other]) assert.deepEqual([...(await changes.next()).value!.updated.keys()], ["a"]);
  const waiting = one.next();
  await one.return!();
  assert.equal((await waiting).done, true);
  server.put(0, "b", "1");
  assert.deepEqual([...(await other.next()).value!.updated.keys()], ["b"]);
  const last = other.next();
  table.close();
  assert.equal((await last).done, true);
  await until(() => server.commands.at(-1)?.case === "cmdUnsubscribe");
});

test("a table reports its status, progress and outages", async () => {
  const events: TableEvent[] = [];
  const server = new Server();
  server.holdsSnapshots = true;
  const { table } = open(server, { onEvent: (event) => events.push(event) });
  await until(() => subscribed(server).length > 0);
  const tell = (event: object) =>
    server.tell({ case: "kafkaSubscriptionEvent", value: { event: event as { case: undefined } } });
  tell({ case: "building", value: { ...AT, nextOffset: 3n, end: 9n } });
  for (let turn = 0; turn < 10; turn++) await setImmediate();
  server.holdsSnapshots = false;
  server.deliver();
  await until(() => table.status === "current");
  tell({ case: "retrying", value: { ...AT, error: { message: "down" } } });
  await until(() => table.status === "stale");
  tell({ case: "caughtUp", value: AT });
  await until(() => table.status === "current");
  assert.deepEqual(
    events.map((event) => (event.type === "status" ? event.status : event.type)),
    ["building", "complete", "stale", "caughtUp", "caughtUp", "current", "retrying", "stale", "caughtUp", "current"],
  );
  assert.deepEqual(events[0], { type: "building", ...AT, next: 3, end: 9 });
});

test("a closed table changes no more, whatever is on its way", async () => {
  const events: string[] = [];
  const { server, table } = open(new Server(), { onEvent: ({ type }) => events.push(type) });
  await until(() => table.status === "current");
  events.length = 0;
  server.put(0, "a", "1");
  server.tell({ case: "kafkaSubscriptionEvent", value: { event: { case: "caughtUp", value: AT } } });
  table.close();
  for (let turn = 0; turn < 10; turn++) await setImmediate();
  assert.deepEqual([table.size, events], [0, ["status"]]);
});

test("what a table has taken is granted again", async () => {
  const server = new Server();
  const text = `"${"x".repeat(100_000)}"`;
  for (let number = 0; number < 30; number++) server.put(0, `${number}`, text);
  const { table } = open(server);
  await table.ready;
  assert.equal(table.size, 30);
  const granted = server.commands.reduce(
    (sum, req) => sum + (req.case === "cmdCredit" ? Number(req.value.bytes) : 0),
    0,
  );
  const taken = server.logs[0]!.reduce((sum, record) => sum + recordCost(record), 0);
  assert.ok(granted > taken / 2 && granted <= taken, `${granted} of ${taken}`);
});

test("subjects are the keys of a stream, and markers of NATS remove them", async (t) => {
  t.mock.method(Math, "random", () => 0);
  const stream = new Stream();
  const server = new Server(stream);
  stream.write("kv.a", 2);
  stream.write("kv.b");
  const table = gate.table<number>({ stream: "s" });
  await table.ready;
  assert.deepEqual([table.get("kv.a"), table.record("kv.b")?.sequence], [2, 3]);
  for (const [name, value, isMarker] of [
    ["KV-Operation", "DEL", true],
    ["KV-Operation", "PURGE", true],
    ["Nats-Marker-Reason", "MaxAge", true],
    ["KV-Operation", "PUT", false],
  ] as const) {
    stream.put("kv.a", [{ name, value }]);
    stream.write("kv.end");
    const { sequence } = stream.messages.at(-1)!;
    await until(() => table.record("kv.end")?.sequence === Number(sequence));
    assert.equal(table.record("kv.a") === undefined, isMarker, value);
  }
  server.tell({
    case: "natsSubscriptionEvent",
    value: { event: { case: "firstSequence", value: { stream: "s", sequence: 4n } } },
  });
  await until(() => !table.has("kv.b"));
  server.cut();
  stream.write("kv.c");
  await until(() => table.has("kv.c"));
  const last = [...server.commands].reverse().find((req) => req.case === "cmdNatsSubscribe");
  assert(last?.case === "cmdNatsSubscribe");
  const { from, streamId } = last.value.sources[0]!;
  assert.deepEqual([from, streamId], [{ case: "sequence", value: 12n }, new Uint8Array([7, 7, 7])]);
});
