import assert from "node:assert/strict";
import { test } from "node:test";

import { connect, positionsIn } from "../src/index.ts";
import { Server } from "./server.ts";
import { Stream } from "./stream.ts";

const URL = "ws://gateway/";

test("a subscription begins where `from` or `last` says", async (t) => {
  t.mock.timers.enable({ apis: ["Date"], now: 1_700_000_300_000 });
  for (const [options, want] of [
    [{}, ["timestamp", -1]],
    [{ last: 3 }, ["offset", -3]],
    [{ last: 0 }, ["timestamp", -1]],
    [{ from: -10 }, ["offset", -10]],
    [{ from: "-10" }, ["offset", -10]],
    [{ from: "7" }, ["offset", 7]],
    [{ from: 5 }, ["offset", 5]],
    [{ from: "s@-5m" }, ["timestamp", 1_700_000_000_000]],
    [{ from: "s@1700000000000" }, ["timestamp", 1_700_000_000_000]],
    [{ from: "s@2023-11-14T23:13:20+01:00" }, ["timestamp", 1_700_000_000_000]],
  ] as const) {
    const server = new Server();
    const asked = new Promise((resolve) => {
      server.answer = (req) => {
        if (req.case !== "cmdKafkaSubscribe") return undefined;
        const { from } = req.value.sources[0]!;
        resolve([from.case, Number(from.value)]);
        return undefined;
      };
    });
    const gate = connect(URL);
    gate
      .subscribe("t", options)
      .next()
      .catch(() => {});
    assert.deepEqual(await asked, want);
    gate.close();
  }
});

test("stored positions override `last`, until they are cleared or cannot be read", async () => {
  const server = new Server();
  server.write(0, 10);
  const stored = new Map([["p", JSON.stringify({ t: { id: "", next: { 0: 4, 1: 0 } } })]]);
  const storage = {
    getItem: (name: string) => stored.get(name) ?? null,
    setItem: (name: string, text: string) => void stored.set(name, text),
    removeItem: (name: string) => void stored.delete(name),
  };
  const positions = positionsIn(storage, "p");
  const gate = connect(URL);
  const first = async () => {
    const loop = gate.subscribe("t", { last: 1, positions });
    const { value } = await loop.next();
    await loop.return();
    return value?.offset;
  };
  assert.equal(await first(), 4);
  positions.clear();
  assert.equal(stored.size, 0);
  assert.equal(await first(), 9);
  for (const text of ["{", "null"]) {
    stored.set("p", text);
    assert.equal(await first(), 9);
  }
  for (const place of ["null", '{"next":null}', '{"next":{"0":1.5}}', '{"next":{"a":1}}', '{"id":"?","next":{}}']) {
    stored.set("p", `{"t":${place}}`);
    const message = `positions.t: expected an id and next, as they were saved, got ${place}`;
    await assert.rejects(first, { name: "TypeError", message });
  }
  gate.close();
});

test("a storage that is full or blocked stops no loop, and says so once", async (t) => {
  const { mock } = t.mock.method(console, "warn", () => {});
  const fail = () => {
    throw new Error("blocked");
  };
  const storages = [
    { getItem: fail, setItem: fail, removeItem: fail },
    { getItem: () => null, setItem: fail, removeItem: fail },
    fail,
    null,
  ];
  for (const [index, storage] of storages.entries()) {
    const server = new Server();
    server.write(0, 100);
    const gate = connect(URL);
    const positions = positionsIn(storage, "p");
    const events: string[] = [];
    const onEvent = ({ type }: { type: string }) => events.push(type);
    for (const heard of [{ onEvent }, {}]) {
      let count = 0;
      for await (const _ of gate.subscribe("t", { from: "earliest", positions, ...heard })) if (++count === 100) break;
    }
    assert.deepEqual([events, mock.callCount()], [["storeFailed"], index + 1]);
    gate.close();
  }
});

test("topics that need several answers are all listed", async () => {
  const server = new Server();
  server.answer = (req) => {
    if (req.case !== "cmdKafkaMetadata") return undefined;
    const rest = ["a", "b", "c"].filter((name) => name > req.value.after);
    return { case: "kafkaMetadataResp", value: { topics: [{ name: rest[0]! }], more: rest.length > 1 } };
  };
  const gate = connect(URL);
  assert.deepEqual(
    (await gate.topics()).map(({ name }) => name),
    ["a", "b", "c"],
  );
  gate.close();
});

test("`last` begins so many sequences before the end of a stream", async () => {
  const stream = new Stream();
  new Server(stream);
  stream.write("a", 9);
  stream.purge(4);
  const gate = connect(URL);
  assert.equal((await gate.subscribe({ streams: "s", last: 2 }).next()).value?.sequence, 8);
  assert.equal((await gate.subscribe({ streams: ["s"], last: 100 }).next()).value?.sequence, 4);
  gate.close();
});
