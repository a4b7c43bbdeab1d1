import "fake-indexeddb/auto";

import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { Worker } from "node:worker_threads";

import { connect, positionsIn } from "../src/tables.ts";
import { Server } from "./server.ts";

// A loop without a pause lets nothing else run in its thread, not even a test's timeout.
new Worker("setTimeout(() => process.kill(process.pid), 30_000)", { eval: true }).unref();

/** Parts of the platform that the client calls, with their owners. */
const PARTS: [object, string][] = [
  ...["AbortController", "CustomEvent", "URL", "WebSocket", "atob", "btoa", "clearInterval", "clearTimeout", "fetch"],
  ...["queueMicrotask", "setInterval", "setTimeout"],
].map((name) => [globalThis, name]);
for (const [owner, names] of [
  [AbortSignal.prototype, "throwIfAborted"],
  [EventTarget.prototype, "addEventListener dispatchEvent removeEventListener"],
  [TextDecoder.prototype, "decode"],
  [TextEncoder.prototype, "encode"],
  [console, "warn"],
  [crypto, "getRandomValues"],
  [Date, "now"],
  [indexedDB, "open"],
  [Math, "random"],
  [performance, "now"],
] as const)
  for (const name of names.split(" ")) PARTS.push([owner, name]);

const storage = { getItem: () => null, setItem() {}, removeItem() {} };

function attempt(handler: () => void): void {
  try {
    handler();
  } catch {}
}

/** Makes a part throw when the client calls it, and counts these calls. */
function breakPart(owner: object, name: string) {
  const original = Object.getOwnPropertyDescriptor(owner, name);
  const part = Reflect.get(owner, name);
  const broken = { calls: 0, restore: () => Object.defineProperty(owner, name, original ?? { value: part }) };
  const isOfClient = () => /\/src\/|@bufbuild/.test(new Error().stack?.split("\n")[3] ?? "");
  const fail = () => {
    broken.calls += 1;
    throw new Error(`${name} is broken`);
  };
  const value = new Proxy(part, {
    apply: (target, self, args) => (isOfClient() ? fail() : Reflect.apply(target, self, args)),
    construct: (target, args, self) => (isOfClient() ? fail() : Reflect.construct(target, args, self)),
  });
  Object.defineProperty(owner, name, { value, configurable: true, writable: true });
  return broken;
}

for (const [owner, name] of PARTS)
  test(`no loop spins while \`${name}\` throws`, async (t) => {
    t.mock.method(Math, "random", () => 0.01);
    t.mock.method(console, "warn", () => {});
    // A browser goes on after an error of an event's handler.
    const { queueMicrotask } = globalThis;
    const handle = (handler: () => void) => queueMicrotask(() => void attempt(handler));
    t.mock.method(globalThis, "queueMicrotask", handle);
    let calls = 0;
    for (const isOpen of [false, true]) {
      const server = new Server();
      server.put(0, "key", "1");
      server.limit = 500;
      const gate = connect("ws://gateway/", { refresh: async () => ({ token: "a.b.c" }) });
      if (isOpen) await gate.ping();
      const broken = breakPart(owner, name);
      t.after(broken.restore);
      const all = [
        async () => {
          const positions = positionsIn(storage, "p");
          for await (const _ of gate.subscribe("t", { from: "earliest", positions }));
        },
        async () => gate.table("t", { store: true, identity: "me" }).ready,
        async () => gate.ping(),
        async () => gate.produce("t", { value: "too large".repeat(100) }),
      ].map((call) => call());
      server.fails = 2;
      server.cut();
      const ended = Promise.allSettled(all);
      await setTimeout(50);
      broken.restore();
      assert.ok(broken.calls < 100, `${broken.calls} calls in 50 ms`);
      calls += broken.calls;
      gate.close();
      for (const end of await ended)
        if (end.status === "rejected") assert.match(`${end.reason}`, /is broken|closed|not valid|at most 500/);
    }
    assert.ok(calls > 0, "the client calls it");
  });
