import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate } from "node:timers/promises";

import { connect, type Gate, type Status } from "../src/index.ts";
import { Server } from "./server.ts";

const URL = "wss://user:password@gateway:8443/pubsub?token=secret";

/** The client's states from now on. */
function states(gate: Gate): string[] {
  const states: string[] = [];
  gate.addEventListener("status", ({ detail }) => states.push(detail.state));
  return states;
}

async function reaches(gate: Gate, state: Status["state"]): Promise<void> {
  while (gate.status.state !== state) await setImmediate();
}

/** A client whose next attempt is far away. */
async function waiting(server: Server, gate: Gate): Promise<{ ping: Promise<number> }> {
  server.fails = 1;
  const ping = gate.ping();
  await reaches(gate, "waiting");
  return { ping };
}

test("what a plain request gets says why the WebSocket was not opened", async (t) => {
  t.mock.method(Math, "random", () => 0.001);
  const answered = "the WebSocket was not opened: wss://gateway:8443/pubsub answers a plain request with ";
  for (const [status, protocols, said] of [
    [
      426,
      ["token"],
      `${answered}426: address and origin are right; the bridge may be down, its route missing, the login or a subprotocol ` +
        "not accepted, or a proxy stops WebSockets",
    ],
    [401, [], `${answered}401: log in, the login is missing or has expired`],
    [
      401,
      ["token"],
      `${answered}401, as it has no subprotocols: log in again, because a token in them may be refused; otherwise the path may be of no pubsub route, or the bridge down`,
    ],
    [403, [], `${answered}403: the gateway refuses this login or this program`],
    [404, [], `${answered}404: there is no pubsub route of Sluicegate`],
    [503, [], `${answered}503: the gateway, or what is behind it, fails`],
    [200, [], `${answered}200: there is no pubsub route of Sluicegate`],
    [0, [], `${answered}a redirect, as to a login`],
    [302, [], `${answered}a redirect, as to a login`],
  ] as const) {
    const server = new Server();
    server.fails = 3;
    server.status = status;
    const gate = connect(URL, { protocols: [...protocols] });
    const errors: string[] = [];
    gate.addEventListener("status", ({ detail }) => {
      if (detail.state === "disconnected") errors.push(detail.error.message);
    });
    await gate.ping();
    assert.deepEqual(errors, [said, said, said]);
    assert.deepEqual(server.probes, ["https://gateway:8443/pubsub?token=secret"], "once in an outage");
    server.fails = 1;
    server.cut();
    await reaches(gate, "disconnected");
    await gate.ping();
    assert.equal(server.probes.length, 2, "again in the next outage");
    gate.close();
  }
});

test("a wrong origin, a wrong scheme and a missing server are told apart, and tokens stay in requests for the address", async (t) => {
  const globals = globalThis as { location?: unknown };
  t.after(() => delete globals.location);
  const page = "http://app.example:3000";
  const missing = (host: string) => `nothing answers at ${host} (ECONNREFUSED): the gateway may be stopped, `;
  for (const [location, url, unreadable, said, probes] of [
    [
      page,
      "ws://gateway:8080/pubsub?token=secret",
      ["http://gateway:8080"],
      `the WebSocket was not opened: ws://gateway:8080/pubsub does not let the origin ${page} read its answer: ` +
        'the path may be wrong, the origin not in "origins" of the route, or the gateway asks for a login',
      ["http://gateway:8080/"],
    ],
    [
      page,
      "wss://gateway:8080/pubsub?token=secret",
      ["http://gateway:8080"],
      "the WebSocket was not opened: expected ws://gateway:8080/pubsub, because gateway:8080 answers without TLS",
      ["https://gateway:8080/", "http://gateway:8080/"],
    ],
    [
      undefined,
      "ws://gateway:8443/pubsub",
      ["https://gateway:8443"],
      "the WebSocket was not opened: expected wss://gateway:8443/pubsub, because gateway:8443 answers with TLS",
      ["https://gateway:8443/"],
    ],
    [page, "/pubsub", [], `${missing("app.example:3000")}or host or port wrong`, ["https://app.example:3000/"]],
    [
      undefined,
      "wss://gateway/pubsub",
      ["http://gateway"],
      `${missing("gateway")}its certificate not trusted, or host or port wrong`,
      [],
    ],
  ] as const) {
    if (location) globals.location = new globalThis.URL(location);
    else delete globals.location;
    const server = new Server();
    server.fails = 1;
    for (const origin of unreadable) server.unreadable.add(origin);
    const gate = connect(url);
    gate.addEventListener("status", ({ detail }) => {
      if (detail.state === "waiting") gate.retryNow();
    });
    const failed = new Promise<string>((resolve) =>
      gate.addEventListener("status", ({ detail }) => detail.error && resolve(detail.error.message)),
    );
    await gate.ping();
    assert.equal(await failed, said);
    assert.deepEqual(server.probes.slice(2), probes, url);
    gate.close();
  }
});

test("an answer that the page can read without cookies only is read", async (t) => {
  const globals = globalThis as { location?: unknown };
  t.after(() => delete globals.location);
  globals.location = new globalThis.URL("http://app.example");
  for (const [status, said] of [
    [404, "404: there is no pubsub route of Sluicegate"],
    [400, "400: there is no pubsub route of Sluicegate, or the port expects TLS"],
  ] as const) {
    const server = new Server();
    server.fails = 1;
    server.anonymous = status;
    const gate = connect("ws://gateway:8080/kafka");
    gate.ping().catch(() => {});
    await reaches(gate, "waiting");
    assert.match(gate.status.error!.message, new RegExp(`answers a plain request with ${said}$`));
    gate.close();
  }
});

test("without a listener of `status`, the console says once why no connection is opened", async (t) => {
  t.mock.method(Math, "random", () => 0.001);
  const { mock } = t.mock.method(console, "warn", () => {});
  const server = new Server();
  server.status = 404;
  const gate = connect(URL);
  for (const count of [1, 2]) {
    server.fails = 3;
    await gate.ping();
    server.cut();
    assert.equal(mock.callCount(), count);
  }
  const [text] = mock.calls[0]!.arguments;
  assert.match(text, /^sluicegate: the WebSocket was not opened: .*404: there is no pubsub route of Sluicegate$/);
  gate.addEventListener("status", () => {});
  server.fails = 3;
  await gate.ping();
  assert.equal(mock.callCount(), 2);
  gate.close();
});

test("the reason is asked for again after `reconnect`, and for another address or other subprotocols", async (t) => {
  t.mock.method(Math, "random", () => 0);
  const server = new Server();
  server.fails = Infinity;
  server.status = 401;
  let target: { url?: string; protocols?: string[] } = {};
  const gate = connect("ws://gateway/a", { refresh: async () => target });
  let failures = 0;
  gate.addEventListener("status", ({ detail }) => {
    if (detail.state === "disconnected") failures += 1;
  });
  const ping = gate.ping();
  const asked = async (count: number) => {
    while (server.probes.length < count) await setImmediate();
    const until = failures + 3;
    while (failures < until) await setImmediate();
    assert.equal(server.probes.length, count);
  };
  await asked(1);
  gate.reconnect();
  await asked(2);
  target = { protocols: ["token"] };
  await asked(3);
  target = { url: "ws://gateway/b" };
  await asked(4);
  assert.deepEqual(
    server.probes.map((probe) => probe.at(-1)),
    ["a", "a", "a", "b"],
  );
  server.fails = 0;
  await ping;
  gate.close();
});

test("`retryNow` ends the pause before the next attempt", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const server = new Server();
  const gate = connect(URL);
  const { ping } = await waiting(server, gate);
  assert.equal(server.opened, 0);
  gate.retryNow();
  await ping;
  assert.equal(server.opened, 1);
  gate.retryNow();
  assert.equal(gate.status.state, "open");
  gate.close();
});

test("an attempt to connect is given up after 20 s", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const server = new Server();
  const { WebSocket } = globalThis;
  let closed = 0;
  let now = 0;
  t.mock.method(performance, "now", () => now);
  globalThis.WebSocket = class {
    close() {
      closed += 1;
    }
  } as unknown as typeof WebSocket;
  const gate = connect(URL);
  const ping = gate.ping();
  for (const [elapsed, given] of [
    [2000, 0],
    [1, 1],
    [2000, 1],
  ] as const) {
    now += elapsed;
    gate.retryNow();
    for (let turn = 0; turn < 10; turn++) await setImmediate();
    assert.equal(closed, given, "a user's patience is shorter, but for a new attempt");
  }
  for (const [elapsed, state] of [
    [19_999, "connecting"],
    [1, "waiting"],
  ] as const) {
    for (let turn = 0; turn < 10; turn++) await setImmediate();
    t.mock.timers.tick(elapsed);
    for (let turn = 0; turn < 10; turn++) await setImmediate();
    assert.equal(gate.status.state, state);
  }
  assert.equal(closed, 2);
  globalThis.WebSocket = WebSocket;
  gate.retryNow();
  await ping;
  assert.equal(server.opened, 1);
  gate.close();
});

test("a network or a user that is back ends the pause, and a connection without answers within 2 s", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const window = new EventTarget();
  const document = Object.assign(new EventTarget(), { hidden: true });
  const globals = globalThis as { addEventListener?: unknown; document?: unknown };
  Object.assign(globals, { addEventListener: window.addEventListener.bind(window), document });
  t.after(() => {
    delete globals.addEventListener;
    delete globals.document;
  });
  let now = 0;
  t.mock.method(performance, "now", () => now);
  const settle = async (milliseconds = 0) => {
    now += milliseconds;
    t.mock.timers.tick(milliseconds);
    for (let turn = 0; turn < 10; turn++) await setImmediate();
  };
  for (const back of ["online", "pageshow", "visibilitychange", "retryNow"]) {
    const server = new Server();
    document.hidden = true;
    const gate = connect(URL);
    const come = async () => {
      if (back === "retryNow") gate.retryNow();
      else (back === "visibilitychange" ? document : window).dispatchEvent(new Event(back));
      await settle();
    };
    const { ping } = await waiting(server, gate);
    document.dispatchEvent(new Event("visibilitychange"));
    await settle();
    assert.equal(gate.status.state, "waiting", "a page that was hidden");
    document.hidden = false;
    await come();
    await ping;
    await come();
    await settle(2000);
    assert.deepEqual([server.commands.length, server.opened], [2, 1], `${back}: an answered ping`);
    server.answers = false;
    const next = gate.ping();
    await come();
    // A message that was on its way is no answer.
    server.expiring();
    await settle(1000);
    // The first of two decides.
    await come();
    await settle(999);
    assert.deepEqual([server.commands.length, gate.status.state], [4, "open"], back);
    server.answers = true;
    await settle(1);
    await next;
    assert.equal(server.opened, 2, `${back}: without a pause`);
    gate.close();
    await come();
    await settle(20_000);
    assert.deepEqual([server.commands.length, gate.status.state], [5, "closed"], back);
  }
});

test("`reconnect` connects with new credentials in every state", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const server = new Server();
  let asked = 0;
  let answer: ((value: object) => void) | undefined;
  const refresh = () => {
    asked += 1;
    return new Promise<object>((resolve) => (answer = resolve));
  };
  const gate = connect(URL, { refresh });
  const seen = states(gate);
  gate.reconnect();
  assert.deepEqual([gate.status.state, asked], ["idle", 0]);

  const ping = gate.ping();
  await setImmediate();
  assert.deepEqual([gate.status.state, asked], ["connecting", 1]);
  gate.reconnect();
  answer!({});
  while (asked < 2) await setImmediate();
  assert.equal(gate.status.state, "connecting");
  answer!({});
  await ping;

  server.cut();
  await reaches(gate, "disconnected");
  const second = gate.ping();
  await reaches(gate, "waiting");
  gate.reconnect();
  while (asked < 3) await setImmediate();
  answer!({});
  await second;

  gate.reconnect();
  await reaches(gate, "disconnected");
  assert.deepEqual(seen, ["connecting", "open", "disconnected", "waiting", "connecting", "open", "disconnected"]);
  gate.close();
});

test("a listener of `status` can run commands in every state", async (t) => {
  t.mock.method(Math, "random", () => 0.001);
  const server = new Server();
  server.fails = 1;
  const gate = connect(URL);
  const seen = states(gate);
  const pings: Promise<number>[] = [];
  gate.addEventListener("status", () => pings.push(gate.ping()));
  await gate.ping();
  await Promise.all(pings);
  assert.deepEqual(seen, ["connecting", "disconnected", "waiting", "connecting", "open"]);
  assert.deepEqual([pings.length, server.opened], [5, 1]);
  gate.close();
  await assert.rejects(pings[5]!, { reason: "closed" });
});
