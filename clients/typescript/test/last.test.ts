import assert from "node:assert/strict";
import { test } from "node:test";

import { connect, positionsIn } from "../src/index.ts";
import { PARTITIONS, Server } from "./server.ts";
import { Stream } from "./stream.ts";

const URL = "ws://gateway/";

/** A server that tells the ends of its topic, whose partition 0 begins at `start`. */
function topic(start = 0): Server {
  const server = new Server();
  const partitions = Array.from({ length: PARTITIONS }, (_, partition) => ({ partition }));
  server.answer = (req) => {
    if (req.case === "cmdKafkaMetadata")
      return { case: "kafkaMetadataResp", value: { topics: [{ name: "t", partitions }] } };
    if (req.case !== "cmdKafkaListOffsets") return undefined;
    const end = (partition: number) => server.logs[partition]!.length;
    const results = req.value.offsets.map(({ partition, timestamp }) => ({
      offset: BigInt(timestamp === -1n ? end(partition) : partition === 0 ? start : 0),
    }));
    return { case: "kafkaListOffsetsResp", value: { results } };
  };
  return server;
}

/** Where each partition of the last subscription begins. */
function begins(server: Server): [number, bigint][] {
  const command = server.commands.findLast((req) => req.case === "cmdKafkaSubscribe");
  assert(command?.case === "cmdKafkaSubscribe");
  return command.value.sources[0]!.next.map(({ partition, offset }) => [partition, offset]);
}

test("`last` begins so many offsets before the end of each partition", async () => {
  const server = topic();
  server.write(0, 10);
  server.write(1, 2);
  const gate = connect(URL);
  const loop = gate.subscribe("t", { last: 3 });
  const taken = [];
  for (let count = 0; count < 5; count++) taken.push((await loop.next()).value);
  assert.deepEqual(
    taken.map((record) => [record?.partition, record?.offset]),
    [
      [0, 7],
      [0, 8],
      [0, 9],
      [1, 0],
      [1, 1],
    ],
  );
  await loop.return();
  gate.close();
});

test("`last` does not begin before the start of a partition, and reads the wanted ones", async () => {
  const server = topic(8);
  server.write(0, 10);
  const gate = connect(URL);
  await gate.subscribe("t", { last: 3, partitions: [0] }).next();
  assert.deepEqual(begins(server), [[0, 8n]]);
  gate.close();
});

test("stored positions override `last`, until they are cleared or cannot be read", async () => {
  const server = topic();
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

test("`last` is tried again if the ends cannot be told", async (t) => {
  t.mock.method(Math, "random", () => 0);
  const server = topic();
  server.write(0, 3);
  const answer = server.answer!;
  let failures = 2;
  const error = { message: "no leader", reason: 9, retriable: true };
  server.answer = (req) =>
    req.case === "cmdKafkaListOffsets" && failures-- > 0 ? { case: "errorResp", value: error } : answer(req);
  const gate = connect(URL);
  assert.equal((await gate.subscribe("t", { last: 1 }).next()).value?.offset, 2);
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
