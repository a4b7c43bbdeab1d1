import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate, setTimeout } from "node:timers/promises";

import { connect, type Gate, GateError, type Login } from "../src/index.ts";
import { Server } from "./server.ts";

const URL = "ws://gateway/mine";

/** Waits until the condition holds. */
async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await setImmediate();
}

/** The tokens that the server was shown on open connections. */
function shown(server: Server): string[] {
  return server.commands.flatMap((command) => (command.case === "cmdAuth" ? [command.value.token] : []));
}

/** A client with numbered tokens. */
function loggedIn(): { gate: Gate; calls: () => number } {
  let calls = 0;
  const gate = connect(URL, { refresh: async () => ({ token: `token-${++calls}` }) });
  return { gate, calls: () => calls };
}

test("a token is offered as a subprotocol", async () => {
  const server = new Server();
  const { gate } = loggedIn();
  await gate.ping();
  assert.deepEqual([...server.open][0]!.protocols, ["sluicegate.v1", "sluicegate.token.token-1"]);
  gate.close();
  const other = connect(URL, { protocols: ["own"], refresh: async () => ({ token: "a.b-c_d" }) });
  await other.ping();
  assert.deepEqual([...server.open][0]!.protocols, ["own", "sluicegate.token.a.b-c_d"]);
  other.close();
});

test("the client renews its login on the open connection", async () => {
  const server = new Server();
  const { gate, calls } = loggedIn();
  const records = gate.subscribe("t", { from: "earliest" })[Symbol.asyncIterator]();
  server.write(0, 1);
  assert.equal((await records.next()).value?.offset, 0);
  for (const token of ["token-2", "token-3"]) {
    server.expiring();
    await until(() => shown(server).includes(token));
  }
  server.write(0, 1);
  assert.equal((await records.next()).value?.offset, 1);
  assert.deepEqual([calls(), server.opened], [3, 1]);
  gate.close();
});

test("a renewal that fails is tried again, and one that is refused is not", async (t) => {
  t.mock.method(Math, "random", () => 0.001);
  const server = new Server();
  let fails = 2;
  server.answer = (req) => {
    if (req.case !== "cmdAuth") return undefined;
    if (fails-- > 0) return { case: "errorResp", value: { message: "no keys", retriable: true } };
    return { case: "errorResp", value: { message: "another subject" } };
  };
  const { gate } = loggedIn();
  await gate.ping();
  server.expiring();
  await until(() => shown(server).length === 3);
  for (let turn = 0; turn < 20; turn++) await setImmediate();
  assert.deepEqual(shown(server), ["token-2", "token-3", "token-4"]);
  // The connection stays open until the login expires.
  await gate.ping();
  assert.equal(server.opened, 1);
  server.expire();
  await until(() => gate.status.state === "disconnected");
  assert.equal(gate.status.error?.message, "the connection was closed (3000 identity expired): another subject");
  gate.close();
});

test("a client whose login has expired logs in anew and goes on", async (t) => {
  t.mock.method(Math, "random", () => 0.001);
  const server = new Server();
  const { gate, calls } = loggedIn();
  const records = gate.subscribe("t", { from: "earliest" })[Symbol.asyncIterator]();
  server.write(0, 1);
  await records.next();
  server.expire();
  server.write(0, 1);
  assert.equal((await records.next()).value?.offset, 1);
  assert.deepEqual([calls(), server.opened], [2, 2]);
  assert.deepEqual([...server.open][0]!.protocols.at(-1), "sluicegate.token.token-2");
  gate.close();
});

test("clients whose logins expired together come back over two seconds", async (t) => {
  t.mock.method(Math, "random", () => 0.999);
  let now = 0;
  t.mock.method(performance, "now", () => now);
  for (const lived of [1_000, 300_000]) {
    const server = new Server();
    const { gate } = loggedIn();
    await gate.ping();
    let pause = 0;
    gate.addEventListener("status", ({ detail }) => {
      if (detail.state === "waiting") pause = detail.retryIn;
    });
    now += lived;
    server.expire();
    gate.ping().catch(() => {});
    await until(() => pause > 0);
    assert.ok(pause > 1900 && pause <= 2000, `${pause}`);
    gate.close();
  }
});

test("another token does not ask again why no connection is opened", async (t) => {
  t.mock.method(Math, "random", () => 0.001);
  const server = new Server();
  server.fails = 3;
  server.status = 426;
  const { gate, calls } = loggedIn();
  await gate.ping();
  assert.deepEqual([calls(), server.probes.length], [4, 1]);
  gate.close();
});

test("without `refresh`, the end of the login is the end of subscriptions until `reconnect`", async () => {
  const server = new Server();
  const gate = connect(URL);
  const records = gate.subscribe("t")[Symbol.asyncIterator]();
  const next = records.next();
  const written = gate.produce("t", { value: "1" });
  await until(() => server.commands.length === 2);
  server.expire();
  const over = {
    name: "GateError",
    reason: "denied",
    retriable: false,
    message: /3000 identity expired\): log in again$/,
  };
  await assert.rejects(next, over);
  await assert.rejects(written, { ...over, unknownOutcome: true });
  await assert.rejects(gate.ping(), { ...over, unknownOutcome: false });
  assert.equal(server.opened, 1);
  const states: string[] = [];
  gate.addEventListener("status", ({ detail }) => states.push(detail.state));
  gate.reconnect();
  await gate.ping();
  assert.deepEqual(states, ["connecting", "open"], "without a pause");
  gate.close();
});

test("calls of `refresh` never overlap", async () => {
  const server = new Server();
  let running = 0;
  let calls = 0;
  const resolves: (() => void)[] = [];
  const refresh = async (): Promise<Login> => {
    assert.equal(++running, 1);
    calls += 1;
    await new Promise<void>((resolve) => resolves.push(resolve));
    running -= 1;
    return { token: `token-${calls}` };
  };
  const gate = connect(URL, { refresh });
  const ping = gate.ping();
  await until(() => resolves.length === 1);
  resolves[0]!();
  await ping;
  server.expiring();
  await until(() => resolves.length === 2);
  // The connection is lost meanwhile: the next one has the token that was asked for.
  server.cut();
  const again = gate.ping();
  await until(() => gate.status.state === "connecting");
  resolves[1]!();
  await again;
  assert.equal(calls, 2);
  assert.equal([...server.open][0]!.protocols.at(-1), "sluicegate.token.token-2");
  gate.close();
});

/** A call of `refresh` that the test ends. */
interface Call {
  resolve: (login: Login) => void;
  reject: (error: Error) => void;
}

/** A client whose calls of `refresh` end when the test ends them. */
function slow(): { gate: Gate; calls: Call[] } {
  const calls: Call[] = [];
  const refresh = () => new Promise<Login>((resolve, reject) => calls.push({ resolve, reject }));
  return { gate: connect(URL, { refresh }), calls };
}

/** Lets everything happen that needs no timer. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await setImmediate();
}

/** The subprotocols of the open connection. */
function offered(server: Server): string[] {
  return [...server.open][0]!.protocols;
}

test("a call of `refresh` is abandoned after 30 s, and its late result is ignored", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const server = new Server();
  const { gate, calls } = slow();
  const errors: GateError[] = [];
  gate.addEventListener("status", ({ detail }) => {
    if (detail.state === "disconnected") errors.push(detail.error);
  });
  const ping = gate.ping();
  for (const count of [1, 2]) {
    await until(() => calls.length === count);
    t.mock.timers.tick(29_999);
    await settle();
    assert.deepEqual([gate.status.state, errors.length], ["connecting", count - 1]);
    t.mock.timers.tick(1);
    await until(() => gate.status.state === "waiting");
    gate.retryNow();
  }
  const { reason, retriable, message } = errors[0]!;
  assert.deepEqual([reason, retriable, message], ["disconnected", true, "refresh gave no result within 30 s"]);
  await until(() => calls.length === 3);
  calls[0]!.resolve({ token: "token-1" });
  calls[1]!.reject(new Error("late"));
  await settle();
  assert.equal(gate.status.state, "connecting");
  calls[2]!.resolve({ token: "token-3" });
  await ping;
  assert.deepEqual([offered(server).at(-1), server.opened], ["sluicegate.token.token-3", 1]);
  t.mock.timers.tick(60_000);
  await gate.ping();
  assert.deepEqual([calls.length, errors.length], [3, 2]);
  gate.close();
});

test("a renewal whose `refresh` hangs is tried again", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const server = new Server();
  const { gate, calls } = slow();
  const ping = gate.ping();
  await until(() => calls.length === 1);
  calls[0]!.resolve({ token: "token-1" });
  await ping;
  server.expiring();
  await until(() => calls.length === 2);
  t.mock.timers.tick(30_000);
  await settle();
  t.mock.timers.tick(20_000);
  await until(() => calls.length === 3);
  calls[1]!.resolve({ token: "token-2" });
  calls[2]!.resolve({ token: "token-3" });
  await until(() => shown(server).length === 1);
  await settle();
  assert.deepEqual([shown(server), server.opened], [["token-3"], 1]);
  gate.close();
});

test("`reconnect` during a call of `refresh` is followed by one other call", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const ends: ((call: Call) => void)[] = [
    (call) => call.resolve({ token: "of-another-user" }),
    (call) => call.reject(new GateError("logged out", "closed")),
    () => t.mock.timers.tick(30_000),
  ];
  for (const end of ends) {
    const server = new Server();
    const { gate, calls } = slow();
    const states: string[] = [];
    gate.addEventListener("status", ({ detail }) => states.push(detail.state));
    const ping = gate.ping();
    await until(() => calls.length === 1);
    for (let count = 0; count < 3; count++) {
      gate.reconnect();
      await settle();
    }
    assert.equal(calls.length, 1);
    end(calls[0]!);
    await until(() => calls.length === 2);
    await settle();
    calls[1]!.resolve({ token: "token-2" });
    await ping;
    assert.deepEqual([calls.length, server.opened, offered(server).at(-1)], [2, 1, "sluicegate.token.token-2"]);
    assert.deepEqual(states, ["connecting", "open"], "without a pause");
    gate.close();
  }
});

test("`reconnect` during a renewal waits for its `refresh`, and calls it again", async (t) => {
  t.mock.method(Math, "random", () => 0.999);
  const server = new Server();
  const { gate, calls } = slow();
  const ping = gate.ping();
  await until(() => calls.length === 1);
  calls[0]!.resolve({ token: "token-1" });
  await ping;
  server.expiring();
  await until(() => calls.length === 2);
  gate.reconnect();
  const again = gate.ping();
  await settle();
  assert.deepEqual([gate.status.state, calls.length], ["waiting", 2]);
  gate.retryNow();
  await settle();
  assert.deepEqual([gate.status.state, calls.length], ["connecting", 2]);
  calls[1]!.resolve({ token: "token-2" });
  await until(() => calls.length === 3);
  calls[2]!.resolve({ token: "token-3" });
  await again;
  assert.deepEqual([shown(server), offered(server).at(-1)], [[], "sluicegate.token.token-3"]);
  gate.close();
});

test("a `refresh` that calls `reconnect` itself is called after pauses", async () => {
  new Server();
  let calls = 0;
  const gate = connect(URL, {
    refresh: async () => {
      if (++calls > 100) throw new GateError("no pause", "closed");
      gate.reconnect();
      return {};
    },
  });
  const ping = gate.ping();
  await Promise.race([ping, setTimeout(50)]);
  assert.ok(calls > 1 && calls < 50, `${calls} calls`);
  gate.close();
  await assert.rejects(ping, { message: /closed/ });
});

test("a client that is closed during a call of `refresh` makes no other call", async () => {
  new Server();
  for (const reconnects of [false, true]) {
    const { gate, calls } = slow();
    const ping = gate.ping();
    await until(() => calls.length === 1);
    if (reconnects) gate.reconnect();
    await settle();
    gate.close();
    await assert.rejects(ping, { reason: "closed" });
    calls[0]!.resolve({ token: "token-1" });
    await settle();
    assert.equal(calls.length, 1);
  }
});

test("an invalid result of `refresh` is an error that shows its type alone", async () => {
  new Server();
  const token = "refresh: token: expected a JSON Web Token, at most 8192 characters, got ";
  const login = "refresh: expected an object with url, protocols or token, got [object ";
  for (const [result, message] of [
    [{ token: "secret token" }, `${token}string`],
    [{ token: "" }, `${token}string`],
    [{ token: 5 }, `${token}number`],
    [{ token: "x".repeat(8193) }, `${token}string`],
    [{ token: undefined, url: URL }, `${token}undefined`],
    ["secret", `${login}String]`],
    [{ access_token: "secret" }, `${login}Object]`],
    [["secret"], `${login}Array]`],
    [new Response("secret"), `${login}Response]`],
    [undefined, `${login}Undefined]`],
  ] as const) {
    const gate = connect(URL, { refresh: async () => result as never });
    await assert.rejects(gate.ping(), { name: "GateError", reason: "protocol", retriable: false, message });
    gate.close();
  }
});

test("a login without a token is not renewed", async () => {
  const server = new Server();
  let calls = 0;
  const gate = connect(URL, {
    refresh: async () => {
      calls += 1;
      return {};
    },
  });
  await gate.ping();
  server.expiring();
  await until(() => calls === 2);
  await gate.ping();
  assert.deepEqual(shown(server), []);
  gate.close();
});
