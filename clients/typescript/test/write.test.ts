import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate } from "node:timers/promises";

import { connect, GateError } from "../src/index.ts";
import { Server } from "./server.ts";
import type { Resp } from "./stream.ts";
import { Stream } from "./stream.ts";

const URL = "ws://gateway/";

/** Acknowledges every record, with its place in the command as its offset. */
function acknowledge(server: Server): void {
  server.answer = (req) => {
    if (req.case !== "cmdKafkaProduce") return undefined;
    return {
      case: "kafkaProduceResp",
      value: { results: req.value.records.map((_, offset) => ({ offset: BigInt(offset) })) },
    };
  };
}

test("a message above the gateway's limit is refused before it is sent, and subscriptions go on", async () => {
  const server = new Server();
  acknowledge(server);
  server.limit = 2000;
  const gate = connect(URL);
  server.write(0, 1);
  const loop = gate.subscribe("t", { from: "earliest" });
  await loop.next();
  const message = "the message has 2018 bytes: the gateway accepts at most 2000 (max_message_bytes)";
  const expected = { name: "GateError", reason: "too_large", retriable: false, unknownOutcome: false, message };
  await assert.rejects(gate.produce("t", { value: "x".repeat(2000) }), expected);
  await gate.produce("t", { value: "x".repeat(1900) });
  server.write(0, 1);
  assert.equal((await loop.next()).value?.offset, 1);
  assert.equal(server.opened, 1);
  gate.close();
});

test("a subscription above the gateway's limit ends with an error", async () => {
  const server = new Server();
  server.limit = 2000;
  const gate = connect(URL);
  const filters = [{ equals: ["x".repeat(2000)] }];
  await assert.rejects(gate.subscribe("t", { filters }).next(), { reason: "too_large" });
  assert.equal(server.opened, 1);
  gate.close();
});

test("a bridge that does not know the question for limits is written to without one", async () => {
  const server = new Server();
  acknowledge(server);
  server.limit = undefined;
  const gate = connect(URL);
  assert.deepEqual(await gate.produce("t", { value: "x".repeat(2_000_000) }), { partition: 0, offset: 0 });
  gate.close();
});

test("APISIX's own pub/sub answers to commands that it does not know", async () => {
  const server = new Server();
  server.isApisix = true;
  const gate = connect(URL);
  const unknown = { name: "GateError", retriable: false, message: "unknown command" };
  await assert.rejects(gate.produce("t", { value: 1 }), unknown);
  await assert.rejects(gate.subscribe("t").next(), unknown);
  await assert.rejects(gate.topics(), unknown);
  assert.ok((await gate.ping()) >= 0);
  gate.close();
});

test("writes keep their order while the limit is not known", async () => {
  const server = new Server();
  acknowledge(server);
  const gate = connect(URL);
  const values = ["x".repeat(5000), "b", "c"];
  await Promise.all(values.map((value) => gate.produce("t", { value })));
  const written = server.commands.flatMap((req) =>
    req.case === "cmdKafkaProduce" ? [req.value.records[0]!.value!.length] : [],
  );
  assert.deepEqual(written, [5000, 1, 1]);
  gate.close();
});

test("a write that is not sent in time was not written, and says why", async (t) => {
  t.mock.method(Math, "random", () => 0.001);
  const server = new Server();
  server.fails = Infinity;
  const gate = connect(URL);
  const message = /^not sent within 50 ms: nothing answers at gateway \(/;
  const expected = { reason: "disconnected", retriable: true, unknownOutcome: false, message };
  await assert.rejects(gate.produce("t", { value: 1 }, { timeout: 50 }), expected);
  gate.close();
});

test("a write without an answer in time has an unknown outcome", async () => {
  for (const stream of [undefined, new Stream()]) {
    const server = new Server(stream);
    const gate = connect(URL);
    await gate.ping();
    server.answers = false;
    const write = () =>
      stream
        ? gate.publish({ stream: "s", subject: "a", data: 1 }, { timeout: 20 })
        : gate.produce("t", { value: 1 }, { timeout: 20 });
    await assert.rejects(write(), {
      reason: "unknown_outcome",
      unknownOutcome: true,
      message: "no answer within 20 ms",
    });
    gate.close();
  }
});

test("a write has a time limit of 40 s by default", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const server = new Server();
  server.answers = false;
  const gate = connect(URL);
  const written = assert.rejects(gate.produce("t", { value: 1 }), { message: "no answer within 40000 ms" });
  while (!server.commands.length) await setImmediate();
  t.mock.timers.tick(40_000);
  await written;
  gate.close();
});

test("a connection that is lost before a write is sent does not fail it", async (t) => {
  t.mock.method(Math, "random", () => 0);
  const server = new Server();
  acknowledge(server);
  const gate = connect(URL);
  let cuts = 0;
  gate.addEventListener("status", ({ detail }) => {
    if (detail.state === "open" && cuts++ < 3) server.cut();
  });
  await gate.produce("t", { value: 1 });
  assert.equal(server.opened, 4);
  gate.close();
});

test("a list of records is written in one message", async () => {
  const server = new Server();
  acknowledge(server);
  const gate = connect(URL);
  assert.deepEqual(await gate.produce("t", [{ value: 1 }, { value: null }]), [
    { partition: 0, offset: 0 },
    { partition: 0, offset: 1 },
  ]);
  assert.deepEqual(await gate.produce("t", [{ value: 1 }]), [{ partition: 0, offset: 0 }]);
  assert.equal(server.commands.length, 2);
  gate.close();
});

test("a list that is written in part fails with the result of each record", async () => {
  const server = new Server();
  const error = { code: 10, message: "too large", reason: 6, traceId: "4bf9" };
  const results = [
    { offset: 5n },
    { error },
    { error: { ...error, message: "lost", retriable: true, unknownOutcome: true } },
  ];
  server.answer = (req): Resp | undefined =>
    req.case === "cmdKafkaProduce" ? { case: "kafkaProduceResp", value: { results } } : undefined;
  const gate = connect(URL);
  await assert.rejects(gate.produce("t", [{ value: 1 }, { value: 2 }, { value: 3 }]), (error: GateError) => {
    const { message, reason, code, retriable, unknownOutcome, traceId } = error;
    assert.deepEqual(
      { message, reason, code, retriable, unknownOutcome, traceId },
      {
        message: "2 of 3 were not acknowledged: too large",
        reason: "too_large",
        code: 10,
        retriable: false,
        unknownOutcome: true,
        traceId: "4bf9",
      },
    );
    const [first, second, third] = error.results!;
    assert.deepEqual(first, { partition: 0, offset: 5 });
    assert(second instanceof GateError && third instanceof GateError);
    assert.deepEqual([second.unknownOutcome, third.unknownOutcome], [false, true]);
    return true;
  });
  gate.close();
});

test("a list of messages is published in one", async () => {
  const stream = new Stream();
  const server = new Server(stream);
  const gate = connect(URL);
  const published = await gate.publish(["a", "b"].map((data) => ({ stream: "s", subject: "x", data })));
  assert.deepEqual(
    published.map(({ sequence }) => sequence),
    [1, 2],
  );
  assert.equal(server.commands.length, 1);
  gate.close();
});
