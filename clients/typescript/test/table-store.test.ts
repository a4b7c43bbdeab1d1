import "fake-indexeddb/auto";

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { setTimeout } from "node:timers/promises";

import { connect, type Gate, type Table, type TableEvent, type TableOptions } from "../src/tables.ts";
import { Server } from "./server.ts";

const URL = "ws://u:secret@gateway/route?secret";
/** Milliseconds, in which a table is stored: here, ten times as fast. */
const STORED = 80;
const { setInterval } = globalThis;
Object.assign(globalThis, { setInterval: (run: () => void, every: number) => setInterval(run, every / 10) });

function token(sub: string, iss = "https://login/ä"): string {
  const payload = Buffer.from(JSON.stringify({ iss, sub })).toString("base64url");
  return `e30.${payload}.${Math.floor(performance.now() * 1000)}`;
}

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await setTimeout(1);
}

/** A page of a user, and its table. */
function page(user: string, options: TableOptions = {}): { gate: Gate; table: Table; events: TableEvent[] } {
  const events: TableEvent[] = [];
  const gate = connect(URL, { refresh: async () => ({ token: token(user) }) });
  const table = gate.table("t", { store: true, onEvent: (event) => events.push(event), ...options });
  return { gate, table, events };
}

/** The keys that a page gets if it cannot reach the gateway. */
async function offline(user: string, options: TableOptions = {}): Promise<string[] | undefined> {
  new Server().answers = false;
  const { gate, table } = page(user, options);
  const keys = await Promise.race([table.ready.then(() => [...table.keys()]), setTimeout(100, undefined)]);
  gate.close();
  return keys;
}

/** A server whose topic has keys of partition 0. */
function serverWith(...keys: string[]): Server {
  const server = new Server();
  for (const key of keys) server.put(0, key, "1");
  return server;
}

/** Stores a table with these keys. */
async function store(user: string, ...keys: string[]): Promise<void> {
  serverWith(...keys);
  const { gate, table } = page(user);
  await table.ready;
  await setTimeout(STORED);
  gate.close();
}

async function content(): Promise<string> {
  const database = await new Promise<IDBDatabase>((resolve) => {
    const request = indexedDB.open("sluicegate");
    request.onsuccess = () => resolve(request.result);
  });
  const transaction = database.transaction(["tables", "rows"]);
  const requests = ["tables", "rows"].flatMap((name) => {
    const store = transaction.objectStore(name);
    return [store.getAll(), store.getAllKeys()];
  });
  await new Promise((resolve) => {
    transaction.oncomplete = resolve;
  });
  database.close();
  const plain = (_: string, value: unknown) => (typeof value === "bigint" ? Number(value) : value);
  return JSON.stringify(
    requests.map(({ result }) => result),
    plain,
  );
}

beforeEach(() => connect(URL, { refresh: async () => ({}) }).clear());

test("a reloaded page shows the stored table at once, and catches up", async () => {
  const server = serverWith("a", "b", "c");
  const one = page("alice");
  await until(() => one.table.status === "current");
  server.put(0, "d", "4", 7n);
  server.put(0, "a");
  await setTimeout(STORED);
  one.gate.close();
  server.put(0, "e", "5");
  server.put(0, "b", "6");
  const other = page("alice");
  const changes = other.table.changes();
  const { updated } = (await changes.next()).value!;
  assert.deepEqual([...updated.keys()].sort(), ["b", "c", "d"]);
  assert.deepEqual(other.events[0], { type: "status", status: "stale" });
  assert.deepEqual([other.table.record("d")?.timestamp, other.table.record("d")?.offset], [new Date(7), 3]);
  await until(() => other.table.status === "current");
  assert.deepEqual([...other.table].sort(), [
    ["b", 6],
    ["c", 1],
    ["d", 4],
    ["e", 5],
  ]);
  const command = [...server.commands].reverse().find((req) => req.case === "cmdKafkaSubscribe");
  assert(command?.case === "cmdKafkaSubscribe");
  assert.deepEqual(command.value.sources[0]!.next[0]?.offset, 5n);
  assert.ok(command.value.awayMs! >= 60n && command.value.awayMs! < 10_000n, `${command.value.awayMs}`);
  other.gate.close();
});

test("a stored table drops what another snapshot does not have", async () => {
  await store("alice", "ghost", "kept");
  const server = serverWith("kept");
  server.topicId = new Uint8Array([9]);
  let isFirst = true;
  server.answer = (req) => {
    if (req.case !== "cmdKafkaSubscribe" || !isFirst) return undefined;
    isFirst = false;
    return { case: "errorResp", value: { message: "created again", reason: 13 } };
  };
  const { gate, table } = page("alice");
  await table.ready;
  assert.deepEqual([...table.keys()].sort(), ["ghost", "kept"]);
  await until(() => table.status === "current");
  await setTimeout(STORED);
  gate.close();
  assert.deepEqual(await offline("alice"), ["kept"]);
});

test("no table is shown to another identity, topic selection or route", async () => {
  await store("alice", "a");
  assert.equal(await offline("bob"), undefined);
  assert.equal(await offline("alice", { identity: "alice" }), undefined);
  assert.equal(await offline("alice", { partitions: [0] }), undefined);
  assert.equal(await offline("alice", { filters: [{ prefixes: ["a"] }] }), undefined);
  assert.equal(await offline("alice", { decode: true }), undefined);
  assert.deepEqual(await offline("alice"), ["a"]);
});

test("bytes in filters distinguish tables", async () => {
  serverWith("a");
  const [one, other] = [new Uint8Array([1]).buffer, new Uint8Array([2]).buffer].map((value) => ({
    filters: [{ equals: [value] }],
  }));
  const { gate, table } = page("alice", one);
  await table.ready;
  await setTimeout(STORED);
  gate.close();
  assert.equal(await offline("alice", other), undefined);
  assert.deepEqual(await offline("alice", one), ["a"]);
});

test("a table forgets everything as soon as another user logs in", async (t) => {
  t.mock.method(Math, "random", () => 0);
  const server = serverWith("a");
  let user = "alice";
  const gate = connect(URL, { refresh: async () => ({ token: token(user) }) });
  const table = gate.table("t", { store: true });
  const changes = table.changes();
  await changes.next();
  // Another token of the same user changes nothing.
  gate.reconnect();
  await until(() => table.status === "stale");
  await until(() => table.status === "current");
  assert.equal(server.commands.filter((req) => req.case === "cmdKafkaSubscribe").length, 2);
  await setTimeout(STORED);
  user = "bob";
  server.holdsSnapshots = true;
  gate.reconnect();
  const { updated, removed } = (await changes.next()).value!;
  assert.deepEqual([table.size, table.status, updated.size, [...removed]], [0, "loading", 0, ["a"]]);
  const command = [...server.commands].reverse().find((req) => req.case === "cmdKafkaSubscribe");
  server.logs[0]!.length = 0;
  server.put(0, "b", "1");
  await until(() => server.open.size > 0 && server.commands.at(-1) !== command);
  server.holdsSnapshots = false;
  server.renew();
  await until(() => table.status === "current");
  assert.deepEqual([...table.keys()], ["b"]);
  await setTimeout(STORED);
  gate.close();
  assert.deepEqual(await offline("alice"), ["a"]);
  assert.deepEqual(await offline("bob"), ["b"]);
});

test("without a token, `reconnect` can be another user", async (t) => {
  t.mock.method(Math, "random", () => 0);
  const server = serverWith("a");
  const gate = connect("ws://gateway/");
  const table = gate.table("t");
  await table.ready;
  server.cut();
  await until(() => table.status === "stale");
  assert.equal(table.size, 1);
  await until(() => table.status === "current");
  const changes = table.changes();
  await changes.next();
  gate.reconnect();
  assert.deepEqual([...(await changes.next()).value!.removed], ["a"]);
  gate.close();
});

test("a named identity shows the stored table before the login", async () => {
  serverWith("a");
  const { gate, table } = page("", { identity: "alice" });
  await table.ready;
  await setTimeout(STORED);
  gate.close();
  const later = connect(URL, { refresh: () => new Promise(() => {}) });
  const reloaded = later.table("t", { store: true, identity: "alice" });
  await reloaded.ready;
  assert.deepEqual([...reloaded.keys()], ["a"]);
  later.close();
});

test("a table of the next user shows nothing of the last one before the login", async () => {
  await store("ann", "a");
  serverWith("a");
  let login: Promise<{ token: string }> = Promise.resolve({ token: token("ann") });
  const gate = connect(URL, { refresh: () => login });
  await gate.table("t", { store: true }).ready;
  login = new Promise(() => {});
  gate.reconnect();
  const next = gate.table("t", { store: true });
  await setTimeout(100);
  assert.deepEqual([next.status, next.size], ["loading", 0]);
  gate.close();
});

test("without an identity, nothing is stored", async () => {
  serverWith("a");
  const events: TableEvent[] = [];
  const gate = connect("ws://gateway/", { protocols: ["a.b.c", "token"] });
  const table = gate.table("t", { store: true, onEvent: (event) => events.push(event) });
  await table.ready;
  await setTimeout(STORED);
  gate.close();
  const failed = events.flatMap((event) => (event.type === "storeFailed" ? [`${event.error}`] : []));
  assert.deepEqual(failed, ["TypeError: table: options.identity is missing: the login has no token"]);
  assert.equal(await content(), "[[],[],[],[]]");
});

test("a table that may not be read any more is removed", async () => {
  await store("alice", "a");
  const server = serverWith("a");
  server.answer = () => ({ case: "errorResp", value: { message: "denied", reason: 3 } });
  const { gate, table } = page("alice");
  await until(() => table.status === "closed");
  await setTimeout(STORED);
  assert.equal(await content(), "[[],[],[],[]]");
  gate.close();
});

test("tables that nobody opens are removed after 30 days", async (t) => {
  await store("alice", "a");
  const { now } = Date;
  t.mock.method(Date, "now", () => now() + 29 * 24 * 3_600_000);
  await store("bob", "b");
  assert.match(await content(), /alice/);
  t.mock.method(Date, "now", () => now() + 31 * 24 * 3_600_000);
  await store("bob", "b");
  assert.doesNotMatch(await content(), /alice/);
});

test("`clear` removes the tables of all users, and open ones are not stored again", async () => {
  await store("bob", "b");
  const server = serverWith("a");
  const { gate, table } = page("alice");
  await table.ready;
  await setTimeout(STORED);
  await gate.clear();
  server.put(0, "c", "1");
  await until(() => table.has("c"));
  await setTimeout(STORED);
  assert.equal(await content(), "[[],[],[],[]]");
  gate.close();
});

test("`clear` removes what a newer version of the client has stored", async () => {
  await store("alice", "a");
  const newer = await new Promise<IDBDatabase>((resolve) => {
    const request = indexedDB.open("sluicegate", 2);
    request.onupgradeneeded = () => request.result.createObjectStore("newer").put("secret", "of a user");
    request.onsuccess = () => resolve(request.result);
  });
  await connect(URL, { refresh: async () => ({}) }).clear();
  const left = newer.transaction([...newer.objectStoreNames]);
  const counts = [...newer.objectStoreNames].map((name) => left.objectStore(name).count());
  await new Promise((resolve) => {
    left.oncomplete = resolve;
  });
  newer.close();
  assert.deepEqual(
    counts.map(({ result }) => result),
    [0, 0, 0],
  );
  await new Promise((resolve) => {
    indexedDB.deleteDatabase("sluicegate").onsuccess = resolve;
  });
});

test("a stored table whose values cannot be decoded any more ends the table", async () => {
  await store("alice", "a");
  serverWith("a");
  const decode = () => assert.fail("own code");
  const { gate, table, events } = page("alice", { decode });
  await assert.rejects(table.ready, /own code/);
  assert.ok(!events.some(({ type }) => type === "storeFailed"));
  gate.close();
});

test("of two tabs, the one that opened last stores the table", async () => {
  const server = serverWith("a");
  const one = page("alice");
  await one.table.ready;
  await setTimeout(STORED);
  const other = page("alice");
  await until(() => other.table.status === "current");
  server.put(0, "b", "1");
  await until(() => other.table.has("b"));
  await setTimeout(STORED);
  other.gate.close();
  server.put(0, "a");
  await until(() => !one.table.has("a"));
  await setTimeout(STORED);
  assert.deepEqual(await offline("alice"), ["a", "b"]);
  one.gate.close();
});

test("a tab whose table another one has opened writes nothing", async () => {
  const server = serverWith("a");
  const one = page("alice");
  await one.table.ready;
  await setTimeout(STORED);
  const other = page("alice");
  await other.table.ready;
  other.gate.close();
  server.put(0, "b", "1");
  await until(() => one.table.has("b"));
  await setTimeout(STORED);
  one.gate.close();
  assert.deepEqual(await offline("alice"), ["a"]);
});

test("no secret of the address or the login is stored", async () => {
  await store("alice", "a");
  const stored = await content();
  assert.ok(stored.includes("ws://gateway/route") && stored.includes("https://login/ä"), stored);
  assert.ok(!stored.includes("secret") && !stored.includes("e30."), stored);
});

test("a store that fails is told once, and the table goes on", async (t) => {
  await store("alice", "a");
  const server = serverWith("a");
  const { gate, table, events } = page("alice");
  await table.ready;
  const put = t.mock.method(IDBObjectStore.prototype, "put", () => {
    throw new DOMException("the disk is full", "QuotaExceededError");
  });
  server.put(0, "b", "1");
  server.put(0, "a");
  const failures = () => events.filter(({ type }) => type === "storeFailed").length;
  await until(() => failures() === 1);
  server.put(0, "c", "1");
  await until(() => table.has("c"));
  await setTimeout(STORED);
  assert.equal(failures(), 1);
  gate.close();
  put.mock.restore();
  assert.deepEqual(await offline("alice"), ["a"], "the state before");
});

test("a table does not wait for a database that does not open", async (t) => {
  t.mock.method(indexedDB, "open", () => ({}));
  serverWith("a");
  const { gate, table, events } = page("alice");
  await table.ready;
  assert.equal(events.filter(({ type }) => type === "storeFailed").length, 1);
  gate.close();
});

test("a runtime without IndexedDB has tables, and nothing to clear", async (t) => {
  const { indexedDB } = globalThis;
  t.after(() => Object.assign(globalThis, { indexedDB }));
  Object.assign(globalThis, { indexedDB: undefined });
  serverWith("a");
  const { gate, table, events } = page("alice");
  await table.ready;
  await gate.clear();
  assert.equal(events.filter(({ type }) => type === "storeFailed").length, 1);
  gate.close();
});
