import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate } from "node:timers/promises";

import { connect, GateError, type Positions, type Record, type Status } from "../src/index.ts";
import { PARTITIONS, Server } from "./server.ts";

const URL = "ws://gateway/";

function all(count: number): number[] {
  return Array.from({ length: count }, (_, offset) => offset);
}

function offsets(records: Record[], partition: number): number[] {
  return records.filter((record) => record.partition === partition).map(({ offset }) => offset);
}

test("each record is taken once and in order, however often the connection is lost", async (t) => {
  t.mock.method(Math, "random", () => 0);
  const server = new Server();
  const gate = connect(URL);
  for (let partition = 0; partition < PARTITIONS; partition++) server.write(partition, 300);
  const records: Record[] = [];
  for await (const record of gate.subscribe("t", { from: "earliest", window: 1000 })) {
    records.push(record);
    if (records.length % 37 === 0) server.cut();
    if (records.length % 50 === 0) server.write(0, 1);
    if (records.length === 612) break;
  }
  assert.deepEqual(offsets(records, 0), all(312));
  assert.deepEqual(offsets(records, 1), all(300));
  assert.ok(server.opened > 10, `${server.opened} connections`);
  gate.close();
});

test("a loop that stands still gets no more than its window, and one record", async () => {
  const server = new Server();
  const gate = connect(URL);
  server.write(0, 100, 100);
  const granted = () =>
    server.commands.reduce((sum, req) => {
      if (req.case === "cmdKafkaSubscribe") return sum + Number(req.value.credit);
      return req.case === "cmdCredit" ? sum + Number(req.value.bytes) : sum;
    }, 0);
  const subscription = gate.subscribe("t", { from: "earliest", window: 1000 });
  await subscription.next();
  for (let turn = 0; turn < 10; turn++) await setImmediate();
  assert.equal(granted(), 1000);
  for (let taken = 1; taken < 6; taken++) await subscription.next();
  // Five of them are done with: more than half the window.
  assert.ok(granted() > 1500 && granted() < 1600, `${granted()}`);
  await subscription.return();
  gate.close();
});

test("positions are those of the records that the loop is done with", async () => {
  const server = new Server();
  const gate = connect(URL);
  server.write(0, 10);
  let saved: Positions | undefined;
  const positions = { load: () => saved, save: (positions: Positions) => void (saved = positions) };
  for await (const record of gate.subscribe("t", { from: "earliest", positions })) {
    if (record.offset === 4) break;
  }
  assert.deepEqual(saved, { t: { id: "AQID", next: { 0: 4, 1: 0 } } });
  // The record at which the loop ended comes again: nobody knows whether it was done with.
  const again = await gate.subscribe("t", { positions }).next();
  assert.equal(again.value?.offset, 4);
  gate.close();
});

test("an error that a retry does not mend ends the loop", async () => {
  const server = new Server();
  const gate = connect(URL);
  const error = { code: 29, message: "denied", reason: 3 };
  server.answer = (req) => (req.case === "cmdKafkaSubscribe" ? { case: "errorResp", value: error } : undefined);
  await assert.rejects(gate.subscribe("t").next(), { name: "GateError", code: 29, reason: "denied", retriable: false });
  gate.close();
});

test("a signal ends the loop, and the subscription", async () => {
  const server = new Server();
  const gate = connect(URL);
  const end = new AbortController();
  const loop = (async () => {
    for await (const _ of gate.subscribe("t", { signal: end.signal })) assert.fail("a record");
  })();
  while (!server.commands.length) await setImmediate();
  end.abort();
  await loop;
  assert.equal(server.commands.at(-1)?.case, "cmdUnsubscribe");
  gate.close();
});

test("a lost connection is opened again, with fresh credentials and increasing pauses", async (t) => {
  t.mock.method(Math, "random", () => 0.001);
  const server = new Server();
  let asked = 0;
  const gate = connect(URL, { refresh: async () => ({ protocols: [`token-${++asked}`] }) });
  const states: Status[] = [];
  gate.addEventListener("status", (event) => states.push((event as CustomEvent<Status>).detail));
  await gate.ping();
  for (const disconnect of [() => server.cut(), () => gate.reconnect()]) {
    disconnect();
    while (gate.status.state !== "disconnected") await setImmediate();
    await gate.ping();
  }
  assert.equal(asked, 3);
  const again = ["disconnected", "waiting", "connecting", "open"];
  assert.deepEqual(states.map(({ state }) => state), ["connecting", "open", ...again, ...again]);
  gate.close();
});

test("a read waits while the server closes the connection", async (t) => {
  t.mock.method(Math, "random", () => 0.001);
  const server = new Server();
  const gate = connect(URL);
  await gate.ping();
  const [socket] = server.open;
  assert(socket);
  socket.readyState = 2;
  setTimeout(() => socket.close(1006), 10);
  await gate.ping();
  assert.equal(server.opened, 2);
  gate.close();
});

test("a closed connection is gone at once, even if the server does not answer", async (t) => {
  t.mock.method(Math, "random", () => 0.001);
  const server = new Server();
  const gate = connect(URL);
  await gate.ping();
  for (const socket of server.open) socket.close = () => void (socket.readyState = 2);
  gate.reconnect();
  await gate.ping();
  assert.equal(server.opened, 2);
  gate.close();
});

test("a failure of `refresh` is retried, unless it says otherwise", async (t) => {
  t.mock.method(Math, "random", () => 0.001);
  new Server();
  const failures: Error[] = [new TypeError("fetch failed"), new GateError("logged out", "closed")];
  const refresh = async () => {
    const [failure] = failures;
    if (failure) throw failure;
    return {};
  };
  const gate = connect(URL, { refresh });
  const states: Status[] = [];
  gate.addEventListener("status", () => {
    states.push(gate.status);
    if (gate.status.state === "disconnected") failures.shift();
  });
  await assert.rejects(gate.ping(), { message: "logged out" });
  const lost = states.flatMap((status) => (status.state === "disconnected" ? [status.error.message] : []));
  assert.deepEqual(lost, ["TypeError: fetch failed", "logged out"]);
  await gate.ping();
  gate.close();
});

test("an address that is none ends commands", async () => {
  globalThis.WebSocket = class {
    constructor() {
      throw new SyntaxError("no such scheme");
    }
  } as unknown as typeof WebSocket;
  await assert.rejects(connect("x:").ping(), { reason: "protocol", message: "SyntaxError: no such scheme" });
});

test("pauses grow while the server closes connections without an answer", async (t) => {
  t.mock.method(Math, "random", () => 0.001);
  const server = new Server();
  server.refuses = true;
  const gate = connect(URL);
  const pauses: number[] = [];
  gate.addEventListener("status", (event) => {
    const status = (event as CustomEvent<Status>).detail;
    if (status.state === "waiting") pauses.push(status.retryIn);
  });
  gate.ping().catch(() => {});
  while (pauses.length < 8) await setImmediate();
  assert.deepEqual(pauses, [0.5, 1, 2, 4, 8, 16, 20, 20]);
  gate.close();
});

test("a record whose acknowledgement is lost has an unknown outcome", async () => {
  const server = new Server();
  const gate = connect(URL);
  const produced = gate.produce("t", { key: "k", value: { a: 1 } });
  while (!server.commands.length) await setImmediate();
  server.cut();
  await assert.rejects(produced, (error: GateError) => error.unknownOutcome && error.reason === "disconnected");
  const [command] = server.commands;
  assert.equal(command?.case === "cmdKafkaProduce" && new TextDecoder().decode(command.value.records[0]!.value), '{"a":1}');
  gate.close();
});

test("a closed client refuses commands", async () => {
  new Server();
  const gate = connect(URL);
  gate.close();
  await assert.rejects(gate.ping(), { reason: "closed" });
  assert.equal(gate.status.state, "closed");
});
