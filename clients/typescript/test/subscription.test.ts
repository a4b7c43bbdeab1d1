import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { inspect } from "node:util";

import {
  connect,
  type Gate,
  GateError,
  type Positions,
  type Status,
  type SubscriptionEvent,
  type TopicRecord,
} from "../src/index.ts";
import { PARTITIONS, Server } from "./server.ts";

const URL = "ws://gateway/";
const REFRESH_FAILED =
  "refresh failed; its error is not shown, because it can contain a token: throw a GateError to say why";

function all(count: number): number[] {
  return Array.from({ length: count }, (_, offset) => offset);
}

function offsets(records: TopicRecord[], partition: number): number[] {
  return records.filter((record) => record.partition === partition).map(({ offset }) => offset);
}

test("each record is taken once and in order, however often the connection is lost", async (t) => {
  t.mock.method(Math, "random", () => 0);
  const server = new Server();
  const gate = connect(URL);
  for (let partition = 0; partition < PARTITIONS; partition++) server.write(partition, 300);
  const records: TopicRecord[] = [];
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

test("a partition that could not be read begins where it is told", async () => {
  const server = new Server();
  const gate = connect(URL);
  const saved: Positions = { t: { id: "", next: { 0: 0, 7: -1 } } };
  const subscription = gate.subscribe("t", { positions: { load: () => saved, save() {} } });
  const next = subscription.next();
  const places = () =>
    server.commands.flatMap((req) => (req.case === "cmdKafkaSubscribe" ? [req.value.sources[0]!.next] : []));
  const of = (partition: number) => places().map((next) => next.find((next) => next.partition === partition)?.offset);
  while (of(7).length < 1) await setImmediate();
  const topics = [{ topic: "t", partitions: [{ partition: 7, offset: 5n }] }];
  server.tell({ case: "kafkaSubscribedResp", value: { topics } } as never);
  await setImmediate();
  server.cut();
  while (of(7).length < 2) await setImmediate();
  assert.deepEqual(of(7), [-1n, 5n]);
  server.write(0, 1);
  await next;
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

test("lost connections do not widen the window", async (t) => {
  t.mock.method(Math, "random", () => 0);
  const server = new Server();
  const gate = connect(URL);
  server.write(0, 100, 500);
  const subscription = gate.subscribe("t", { from: "earliest", window: 600 });
  for (let cut = 0; cut < 20; cut++) {
    assert.equal((await subscription.next()).value?.offset, cut);
    server.cut();
    while (gate.status.state !== "open") await setImmediate();
    for (let turn = 0; turn < 10; turn++) await setImmediate();
  }
  const last = [...server.commands].reverse().find((req) => req.case === "cmdKafkaSubscribe");
  const [source] = last?.case === "cmdKafkaSubscribe" ? last.value.sources : [];
  const next = source?.next.find(({ partition }) => partition === 0);
  // One record in hand, one or two within the window, and one that exceeds it.
  assert(next && Number(next.offset) <= 20 + 4, `${next?.offset}`);
  await subscription.return();
  gate.close();
});

test("what costs no credit does not pile up before a loop that stands still", async () => {
  const server = new Server();
  const gate = connect(URL);
  const events: SubscriptionEvent[] = [];
  const subscription = gate.subscribe("t", { from: "earliest", onEvent: (event) => events.push(event) });
  const first = subscription.next();
  while (!server.commands.length) await setImmediate();
  server.write(0, 1);
  await first;
  const at = { topic: "t", partition: 0 };
  for (let number = 1n; number <= 100n; number++) {
    server.tell({ case: "kafkaDeliveryResp", value: { ...at, nextOffset: 10n * number } });
    const skipped = { ...at, from: 10n * number, to: 10n * number + 5n };
    server.tell({ case: "kafkaSubscriptionEvent", value: { event: { case: "skipped", value: skipped } } });
    server.tell({
      case: "kafkaSubscriptionEvent",
      value: { event: { case: "caughtUp", value: { ...at, nextOffset: 10n * number + 5n } } },
    });
  }
  const second = subscription.next();
  for (let turn = 0; turn < 10; turn++) await setImmediate();
  assert.deepEqual(events, [
    { type: "skipped", ...at, from: 10, to: 1005 },
    { type: "caughtUp", ...at },
  ]);
  assert.equal(subscription.positions.t?.next[0], 1005);
  await subscription.return();
  assert.equal((await second).done, true);
  gate.close();
});

test("an ended loop gets nothing more, and calls of `next` have their turns", async () => {
  const server = new Server();
  const gate = connect(URL);
  server.write(0, 10);
  const end = new AbortController();
  const subscription = gate.subscribe("t", { from: "earliest", signal: end.signal });
  const both = await Promise.all([subscription.next(), subscription.next()]);
  assert.deepEqual(
    both.map(({ value }) => value?.offset),
    [0, 1],
  );
  end.abort();
  assert.equal((await subscription.next()).done, true);
  const over = { name: "GateError", reason: "closed", message: "this loop has ended: call subscribe or changes again" };
  assert.throws(() => subscription[Symbol.asyncIterator](), over);
  const ended = gate.subscribe("t", { signal: end.signal });
  for await (const _ of ended) assert.fail("a record");
  await assert.rejects(async () => {
    for await (const _ of ended) assert.fail("a record");
  }, over);
  gate.close();
});

test("a failure of the page's own code ends the subscription", async () => {
  const server = new Server();
  const gate = connect(URL);
  server.write(0, 10);
  const failing = { load: () => undefined, save: () => Promise.reject(new Error("full")) };
  const subscription = gate.subscribe("t", { from: "earliest", positions: failing });
  await assert.rejects(async () => {
    for await (const _ of subscription);
  }, /full/);
  await assert.rejects(async () => {
    const onEvent = () => assert.fail("an event");
    const loop = gate.subscribe("t", { onEvent });
    const next = loop.next();
    while (server.commands.at(-1)?.case !== "cmdKafkaSubscribe") await setImmediate();
    server.tell({
      case: "kafkaSubscriptionEvent",
      value: { event: { case: "caughtUp", value: { topic: "t", partition: 0 } } },
    });
    await next;
  }, /an event/);
  while (server.commands.at(-1)?.case !== "cmdUnsubscribe") await setImmediate();
  gate.close();
});

test("positions are those of the records that the loop is done with", async () => {
  const server = new Server();
  const gate = connect(URL);
  server.write(0, 10);
  let saved: Positions | undefined;
  const positions = {
    load: () => saved,
    save: (positions: Positions) => {
      saved = positions;
    },
  };
  for await (const record of gate.subscribe("t", { from: "earliest", positions })) {
    if (record.offset === 4) break;
  }
  assert.deepEqual(saved, { t: { id: "AQID", next: { 0: 4, 1: 0 } } });
  // The record at which the loop ended comes again: nobody knows whether it was done with.
  const again = await gate.subscribe("t", { positions }).next();
  assert.equal(again.value?.offset, 4);
  gate.close();
});

test("an error that is not retriable ends the loop", async () => {
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
  assert.deepEqual(
    states.map(({ state }) => state),
    ["connecting", "open", ...again, ...again],
  );
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
  for (const socket of server.open) {
    socket.close = () => {
      socket.readyState = 2;
    };
  }
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
  assert.deepEqual(lost, [REFRESH_FAILED, "logged out"]);
  await gate.ping();
  gate.close();
});

test("a failure of `refresh` shows no token", async (t) => {
  t.mock.method(Math, "random", () => 0.001);
  const printed = (["debug", "error", "info", "log", "warn"] as const).map((method) =>
    t.mock.method(console, method, () => {}),
  );
  new Server();
  const failures: unknown[] = [
    new Error("GET /token?secret failed", { cause: new Error("secret") }),
    Object.assign(new TypeError("failed"), { url: "/token?secret" }),
    "secret",
    { toString: () => "secret" },
  ];
  const count = failures.length;
  const gate = connect(URL, {
    refresh() {
      if (failures.length === 0) return Promise.resolve({});
      const failure = failures.pop();
      if (failures.length % 2) throw failure;
      return Promise.reject(failure);
    },
  });
  t.after(() => gate.close());
  const errors: GateError[] = [];
  gate.addEventListener("status", ({ detail }) => {
    if (detail.state === "disconnected") errors.push(detail.error);
  });
  await gate.ping();
  assert.deepEqual(
    errors.map(({ message, cause }) => [message, cause]),
    Array.from({ length: count }, () => [REFRESH_FAILED, undefined]),
  );
  const shown = inspect(errors, { depth: null, showHidden: true });
  assert.ok(!shown.includes("secret"), shown);
  assert.deepEqual(
    printed.map((method) => method.mock.callCount()),
    [0, 0, 0, 0, 0],
  );
});

test("an invalid address or subprotocol fails commands, and the error shows no token", async () => {
  globalThis.WebSocket = class {
    constructor(url: string) {
      throw new SyntaxError(`${url} is invalid`);
    }
  } as unknown as typeof WebSocket;
  const expected = "expected letters, digits and !#$%&'*+-.^_`|~, each subprotocol once";
  for (const [url, protocols, message] of [
    ["x:token", [], "the address is not valid: expected ws: or wss:, got x:"],
    ["/pubsub?token", [], "the address is not valid: expected a complete URL such as wss://gateway.example/pubsub"],
    [URL, ["a", "to ken"], `protocols[1] is not valid: ${expected}`],
    [URL, ["a", "b", "a"], `protocols[2] is not valid: ${expected}`],
    [URL, ["a"], "the address or a subprotocol is not valid"],
  ] as const) {
    const refresh = async () => ({ url, protocols: [...protocols] });
    await assert.rejects(connect(URL, { refresh }).ping(), { reason: "protocol", message });
  }
});

test("a runtime without WebSocket and a browser that is too old are named", async (t) => {
  delete (globalThis as { WebSocket?: unknown }).WebSocket;
  const message = "this runtime has no WebSocket: Node 22 or newer is needed";
  await assert.rejects(connect(URL).ping(), { reason: "protocol", message });
  t.mock.property(AbortSignal.prototype, "throwIfAborted", undefined);
  const oldest = "Chrome or Edge 100, Firefox 97, Safari 15.4, Node 22, or newer";
  assert.throws(() => connect(URL), { message: `connect: this browser is too old: expected ${oldest}` });
});

test("a closed client opens no connection", async () => {
  for (const state of ["connecting", "open"]) {
    const server = new Server();
    const gate = connect(URL);
    gate.addEventListener("status", ({ detail }) => {
      if (detail.state === state) gate.close();
    });
    await assert.rejects(gate.ping(), { reason: "closed" });
    for (let turn = 0; turn < 10; turn++) await setImmediate();
    assert.equal(server.open.size, 0, state);
    assert.equal(gate.status.state, "closed");
  }
});

test("a connection that only fails to open, without being closed, is tried again", async (t) => {
  t.mock.method(Math, "random", () => 0.001);
  const server = new Server();
  server.fails = 1;
  const gate = connect(URL);
  await gate.ping();
  assert.equal(server.opened, 1);
  gate.close();
});

test("a silent connection is given up once a ping has not been answered, whatever the date is", async (t) => {
  let now = 0;
  t.mock.method(performance, "now", () => now);
  t.mock.timers.enable({ apis: ["Date", "setInterval", "setTimeout"] });
  const server = new Server();
  const gate = connect(URL);
  await gate.ping();
  const later = async (milliseconds: number) => {
    now += milliseconds;
    t.mock.timers.tick(milliseconds);
    for (let turn = 0; turn < 10; turn++) await setImmediate();
  };
  // The machine's date was wrong for a moment.
  t.mock.timers.setTime(1e13);
  await gate.ping();
  t.mock.timers.setTime(1e6);
  for (let second = 0; second < 60; second++) await later(1000);
  assert.equal(server.commands.length, 5, "a ping after 20 s of silence");
  server.answers = false;
  for (let second = 0; second < 29; second++) await later(1000);
  assert.deepEqual([gate.status.state, server.opened], ["open", 1]);
  await later(10_000);
  assert.equal(gate.status.error?.message, "the connection was closed (4000 no answer to a ping)");
  gate.close();
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

test("pauses are short again after a connection that lasted", async (t) => {
  t.mock.method(Math, "random", () => 0.001);
  let now = 0;
  t.mock.method(performance, "now", () => now);
  const server = new Server();
  server.fails = 3;
  const gate = connect(URL);
  const pauses: number[] = [];
  gate.addEventListener("status", ({ detail }) => {
    if (detail.state === "waiting") pauses.push(detail.retryIn);
  });
  await gate.ping();
  for (const lasted of [10_000, 10_001]) {
    now += lasted;
    server.cut();
    await gate.ping();
  }
  assert.deepEqual(pauses, [0.5, 1, 2, 4, 0.5]);
  gate.close();
});

test("a subscription that fails is begun again, after pauses that grow until it delivers", async (t) => {
  t.mock.method(Math, "random", () => 0.001);
  const server = new Server();
  const gate = connect(URL);
  const loop = gate.subscribe("t", { from: "earliest" });
  server.write(0, 1);
  await loop.next();
  const { mock } = t.mock.method(globalThis, "setTimeout");
  const error = { message: "busy", reason: 9, retriable: true, retryAfterMs: 3 };
  let refusals = 2;
  server.answer = (req) =>
    req.case === "cmdKafkaSubscribe" && refusals-- > 0 ? { case: "errorResp", value: error } : undefined;
  for (const offset of [1, 2]) {
    server.tell({ case: "errorResp", value: error });
    server.write(0, 1);
    while ((await loop.next()).value?.offset !== offset);
  }
  assert.deepEqual(
    mock.calls.map(({ arguments: [, milliseconds] }) => milliseconds),
    [3.5, 4, 5, 3.5],
  );
  gate.close();
});

test("a record whose acknowledgement is lost has an unknown outcome", async () => {
  const endings = { disconnected: (server: Server) => server.cut(), closed: (_: Server, gate: Gate) => gate.close() };
  for (const [reason, end] of Object.entries(endings)) {
    const server = new Server();
    const gate = connect(URL);
    const produced = gate.produce("t", { key: "k", value: { a: 1 } });
    while (!server.commands.length) await setImmediate();
    end(server, gate);
    await assert.rejects(produced, { unknownOutcome: true, reason });
    const [command] = server.commands;
    assert.equal(
      command?.case === "cmdKafkaProduce" && new TextDecoder().decode(command.value.records[0]!.value),
      '{"a":1}',
    );
    gate.close();
  }
});

test("a closed client refuses commands", async () => {
  new Server();
  const gate = connect(URL);
  gate.close();
  await assert.rejects(gate.ping(), { reason: "closed" });
  assert.equal(gate.status.state, "closed");
});
