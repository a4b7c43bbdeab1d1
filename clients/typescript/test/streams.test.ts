import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate } from "node:timers/promises";

import type { RecordFilter } from "../src/generated/pubsub_pb.ts";
import { connect, positionsIn, type StreamEvent, type StreamMessage, type StreamPositions } from "../src/tables.ts";
import { Server } from "./server.ts";
import { DUPLICATE_WINDOW, Stream } from "./stream.ts";

const URL = "ws://gateway/";

function subscribeCommands(server: Server) {
  return server.commands.flatMap((req) => (req.case === "cmdNatsSubscribe" ? [req.value] : []));
}

async function take(
  loop: AsyncIterable<StreamMessage>,
  count: number,
  each = (_: StreamMessage) => {},
): Promise<StreamMessage[]> {
  const messages: StreamMessage[] = [];
  for await (const message of loop) {
    messages.push(message);
    each(message);
    if (messages.length === count) break;
  }
  return messages;
}

test("messages of a stream have their subject, data and headers", async () => {
  const stream = new Stream();
  new Server(stream);
  const gate = connect(URL);
  const headers = [{ key: "type", value: "created" }, { name: "empty" }];
  await gate.publish({ stream: "s", subject: "orders.eu", data: { id: 1 }, headers });
  const [message] = await take(gate.subscribe({ streams: "s", from: "earliest" }), 1);
  assert(message);
  const { stream: name, sequence, timestamp, subject, data } = message;
  assert.deepEqual(
    { name, sequence, timestamp, subject },
    { name: "s", sequence: 1, timestamp: new Date(1000), subject: "orders.eu" },
  );
  assert.deepEqual(data.json(), { id: 1 });
  assert.deepEqual(
    message.headers.map(({ key, value }) => [key, value.text()]),
    [
      ["type", "created"],
      ["empty", ""],
    ],
  );
  gate.close();
});

test("a subscription to a stream begins at a sequence, a time or an end", async () => {
  const stream = new Stream();
  const server = new Server(stream);
  const gate = connect(URL);
  stream.write("a", 5);
  for (const [from, expected] of [
    ["earliest", 1],
    [3, 3],
    [new Date(4000), 4],
  ] as const) {
    const [message] = await take(gate.subscribe({ streams: ["s"], from }), 1);
    assert.equal(message?.sequence, expected, `${from}`);
  }
  const next = gate.subscribe({ streams: "s" }).next();
  while (subscribeCommands(server).length < 4) await setImmediate();
  stream.write("a");
  assert.equal((await next).value?.sequence, 6);
  gate.close();
});

test("after a cut, a stream continues at the next sequence of the same stream", async (t) => {
  t.mock.method(Math, "random", () => 0);
  const stream = new Stream();
  const server = new Server(stream);
  const gate = connect(URL);
  stream.write("a", 300);
  const loop = gate.subscribe({ streams: "s", from: "earliest", window: 200 });
  const messages = await take(loop, 310, ({ sequence }) => {
    if (sequence % 37 === 0) server.cut();
    if (sequence % 30 === 0) stream.write("a");
  });
  assert.deepEqual(
    messages.map(({ sequence }) => sequence),
    Array.from({ length: 310 }, (_, index) => index + 1),
  );
  assert.deepEqual(
    messages.map(({ data }) => Number(data.text())),
    messages.map(({ sequence }) => sequence),
  );
  const [first, second] = subscribeCommands(server).map(({ sources }) => sources[0]!);
  assert.deepEqual([first?.from, first?.streamId.length], [{ case: "timestamp", value: -2n }, 0]);
  assert(second?.from.case === "sequence" && second.from.value >= 38n, `${second?.from.value}`);
  assert.deepEqual(second.streamId, new Uint8Array([7, 7, 7]));
  gate.close();
});

test("a slow loop over a stream gets no more than its window, and one message", async () => {
  const stream = new Stream();
  const server = new Server(stream);
  const gate = connect(URL);
  stream.write("a", 100);
  const loop = gate.subscribe({ streams: "s", from: "earliest", window: 100 });
  await loop.next();
  for (let turn = 0; turn < 10; turn++) await setImmediate();
  assert.equal(server.commands.filter((req) => req.case === "cmdCredit").length, 0);
  for (let sequence = 2; sequence <= 100; sequence++) assert.equal((await loop.next()).value?.sequence, sequence);
  await loop.return();
  gate.close();
});

test("positions of a stream are its id and next sequence, and survive a reload", async () => {
  const stream = new Stream();
  new Server(stream);
  const gate = connect(URL);
  stream.write("a", 10);
  const stored = new Map<string, string>();
  const storage = {
    getItem: (key: string) => stored.get(key) ?? null,
    setItem: (key: string, value: string) => void stored.set(key, value),
  };
  const open = () =>
    gate.subscribe({ streams: "s", from: "earliest", positions: positionsIn(storage as Storage, "p") });
  await take(open(), 4);
  assert.deepEqual(JSON.parse(stored.get("p")!), { s: { id: "BwcH", next: 4 } });
  // The message at which the loop ended comes again: nobody knows whether it was done with.
  assert.equal((await open().next()).value?.sequence, 4);
  gate.close();
});

test("a stream that was created again ends the loop", async () => {
  new Server(new Stream());
  const gate = connect(URL);
  const saved: StreamPositions = { s: { id: "AQID", next: 4 } };
  const positions = { load: () => saved, save: () => {} };
  await assert.rejects(gate.subscribe({ streams: "s", positions }).next(), {
    name: "GateError",
    reason: "recreated",
    retriable: false,
  });
  gate.close();
});

test("filters select messages by subject, and positions move past the others", async () => {
  const stream = new Stream();
  new Server(stream);
  const gate = connect(URL);
  for (const subject of ["orders.eu.1", "orders.us", "orders.eu.2", "audit", "audit"]) stream.write(subject);
  const loop = gate.subscribe({
    streams: "s",
    from: "earliest",
    filters: [{ prefixes: ["orders.eu."], equals: ["orders"] }],
  });
  assert.equal((await loop.next()).value?.subject, "orders.eu.1");
  assert.equal((await loop.next()).value?.subject, "orders.eu.2");
  const next = loop.next();
  for (let turn = 0; turn < 10; turn++) await setImmediate();
  assert.deepEqual(loop.positions, { s: { id: "BwcH", next: 6 } });
  stream.write("orders");
  assert.equal((await next).value?.sequence, 6);
  await loop.return();
  gate.close();
});

test("filters by value compare JSON, in subscriptions and fetches", async () => {
  const server = new Server(new Stream());
  const gate = connect(URL);
  const part = { value: "/a", equals: ["b", 1, null], prefixes: ["c"], above: 0, below: 1e21 };
  const filters = [part, { value: "", exists: false }];
  const loop = gate.subscribe({ streams: "s", filters });
  const next = loop.next();
  await gate.fetch({ stream: "s", sequence: 0, filters });
  await gate.fetch("t", 0, 0, { filters }).catch(() => {});
  const text = (values: Uint8Array[]) => values.map((value) => new TextDecoder().decode(value));
  const sent = server.commands.map(({ value }) =>
    (value as { filters: RecordFilter[] }).filters.map(({ pointer, equals, prefixes, above, below, missing }) => [
      pointer,
      text(equals),
      text(prefixes),
      above,
      below,
      missing,
    ]),
  );
  const wanted = [
    ["/a", ['"b"', "1", "null"], ["c"], "0", "1e+21", false],
    ["", [], [], undefined, undefined, true],
  ];
  assert.deepEqual(sent, [wanted, wanted, wanted]);
  await loop.return();
  await next;
  gate.close();
});

test("a subscription to a stream reports what it skipped, retries and caught up with", async () => {
  const stream = new Stream();
  const server = new Server(stream);
  const gate = connect(URL);
  stream.write("a", 9);
  stream.purge(5);
  const events: StreamEvent[] = [];
  const loop = gate.subscribe({ streams: "s", from: 2, onEvent: (event) => events.push(event) });
  assert.equal((await loop.next()).value?.sequence, 5);
  const error = { message: "no server was reachable", reason: 11, retriable: true };
  server.tell({ case: "natsSubscriptionEvent", value: { event: { case: "retrying", value: { stream: "s", error } } } });
  const caughtUp = { stream: "s", nextSequence: 20n };
  server.tell({ case: "natsSubscriptionEvent", value: { event: { case: "caughtUp", value: caughtUp } } });
  for (const sequence of [6, 7, 8, 9]) assert.equal((await loop.next()).value?.sequence, sequence);
  const next = loop.next();
  for (let turn = 0; turn < 10; turn++) await setImmediate();
  const [skipped, retrying, ...rest] = events;
  assert.deepEqual(skipped, { type: "skipped", stream: "s", from: 2, to: 5 });
  assert(retrying?.type === "retrying" && retrying.stream === "s");
  assert.deepEqual([retrying.error.reason, retrying.error.retriable], ["unreachable", true]);
  assert.deepEqual(rest, [{ type: "caughtUp", stream: "s" }]);
  assert.equal(loop.positions.s?.next, 20);
  await loop.return();
  assert.equal((await next).done, true);
  gate.close();
});

test("a message with a message id that is published again is a duplicate", async () => {
  const stream = new Stream();
  new Server(stream);
  const gate = connect(URL);
  const message = { stream: "s", subject: "orders", data: "x", messageId: "order-1" };
  const duplicateWindowMs = DUPLICATE_WINDOW;
  assert.deepEqual(await gate.publish(message), { sequence: 1, duplicate: false, duplicateWindowMs });
  assert.deepEqual(await gate.publish(message), { sequence: 1, duplicate: true, duplicateWindowMs });
  assert.deepEqual(await gate.publish({ stream: "s", subject: "orders", data: null }), {
    sequence: 2,
    duplicate: false,
    duplicateWindowMs: 0,
  });
  assert.deepEqual(
    stream.messages.map(({ data }) => data.length),
    [1, 0],
  );
  gate.close();
});

test("a message whose acknowledgement is lost has an unknown outcome, and is not repeated", async (t) => {
  t.mock.method(Math, "random", () => 0);
  const stream = new Stream();
  const server = new Server(stream);
  server.answers = false;
  const gate = connect(URL);
  const published = gate.publish({ stream: "s", subject: "orders", data: null, messageId: "order-1" });
  while (!server.commands.length) await setImmediate();
  server.cut();
  await assert.rejects(published, { reason: "disconnected", unknownOutcome: true });
  assert.equal(server.commands.length, 1);
  gate.close();
});

test("a message that the stream rejects fails with its error code", async () => {
  const server = new Server(new Stream());
  const error = { code: 10077, message: "maximum messages exceeded", reason: 10 };
  server.answer = (req) =>
    req.case === "cmdNatsPublish" ? { case: "natsPublishResp", value: { results: [{ error }] } } : undefined;
  const gate = connect(URL);
  const expected = { name: "GateError", code: 10077, reason: "rejected", unknownOutcome: false };
  await assert.rejects(gate.publish({ stream: "s", subject: "orders", data: null }), expected);
  gate.close();
});

test("messages of a stream are fetched, and sequences found", async () => {
  const stream = new Stream();
  new Server(stream);
  const gate = connect(URL);
  stream.write("a", 9);
  stream.purge(3);
  const { messages, next, end } = await gate.fetch({ stream: "s", sequence: 0, maxMessages: 2 });
  assert.deepEqual(
    { sequences: messages.map(({ sequence }) => sequence), next, end },
    { sequences: [3, 4], next: 5, end: 10 },
  );
  assert.deepEqual(await gate.fetch({ stream: "s", sequence: 10 }), { messages: [], next: 10, end: 10 });
  const found = await Promise.all(
    (["earliest", "latest", new Date(4500), new Date(9001)] as const).map((at) => gate.sequence("s", at)),
  );
  assert.deepEqual(found, [3, 10, 5, -1]);
  gate.close();
});

test("commands of the other system fail, and name the one to use", async () => {
  const wrong = { name: "GateError", reason: "invalid_command", retriable: false };
  new Server(new Stream());
  let gate = connect(URL);
  await assert.rejects(gate.subscribe("t").next(), {
    ...wrong,
    message: "failed to run the command, err: the cluster is of NATS: expected gate.subscribe({ streams })",
  });
  await assert.rejects(gate.fetch("t", 0, 0), {
    ...wrong,
    message: "failed to run the command, err: the cluster is of NATS: expected gate.fetch({ stream, sequence })",
  });
  await assert.rejects(gate.table("t").ready, {
    ...wrong,
    message: "failed to run the command, err: the cluster is of NATS: expected gate.table({ stream })",
  });
  gate.close();
  new Server();
  gate = connect(URL);
  const message = "failed to run the command, err: the cluster is of Kafka: expected gate.subscribe(topics)";
  await assert.rejects(gate.subscribe({ streams: "s" }).next(), { ...wrong, message });
  await assert.rejects(gate.table({ stream: "s" }).ready, /expected gate\.table\(topic\)$/);
  gate.close();
});
