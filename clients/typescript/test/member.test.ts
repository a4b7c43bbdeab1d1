import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate } from "node:timers/promises";

import { connect, type MemberEvent } from "../src/index.ts";
import { Server } from "./server.ts";

const URL = "ws://gateway/";
const ASSIGNED = (...offsets: number[]) => ({
  type: "assigned",
  partitions: offsets.map((offset, partition) => ({ topic: "t", partition, offset })),
});
const AGAIN = "records that are not committed come again";

/** The offsets of the commits, by partition. */
function commits(server: Server): { [partition: number]: number }[] {
  return server.commands.flatMap((req) =>
    req.case === "cmdKafkaCommit"
      ? [Object.fromEntries(req.value.offsets.map(({ partition, offset }) => [partition, Number(offset)]))]
      : [],
  );
}

async function settled(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await setImmediate();
}

test("a member begins at what is committed: after a rebalance, and after a lost connection", async (t) => {
  t.mock.method(Math, "random", () => 0);
  const server = new Server();
  const gate = connect(URL);
  server.write(0, 10);
  const events: MemberEvent[] = [];
  const onEvent = (event: MemberEvent) => events.push(event);
  const member = gate.subscribe("t", { group: "g", from: "earliest", onEvent, window: 100 });
  const taken: number[] = [];
  for await (const record of member) {
    taken.push(record.offset);
    if (record.offset === 9) break;
    if (taken.length === 2) await member.commit(record);
    if (taken.length === 4) server.renew();
    if (taken.length === 6) {
      server.cut();
      await settled();
      const lost = {
        name: "GateError",
        reason: "revoked",
        message: `the partition is not this member's now: ${AGAIN}`,
      };
      await assert.rejects(member.commit(record), lost);
      await assert.rejects(member.commit(), lost);
      await settled();
      const joins = server.commands.filter((req) => req.case === "cmdKafkaSubscribe");
      assert.equal(joins.length, 1, "a loop that is busy takes no partitions from others");
    }
    // Records that waited for the loop are another member's now.
    await settled();
  }
  assert.deepEqual(taken, [0, 1, 2, 3, 2, 3, 2, 3, 4, 5, 6, 7, 8, 9]);
  const revoked = { type: "revoked" };
  assert.deepEqual(events, [ASSIGNED(0, 0), revoked, ASSIGNED(2, 0), revoked, ASSIGNED(2, 0)]);
  gate.close();
});

test("a commit is of the records that it names, or of all that the loop is done with", async () => {
  const server = new Server();
  const gate = connect(URL);
  for (const partition of [0, 1]) server.write(partition, 3);
  const member = gate.subscribe("t", { group: "g", from: "earliest" });
  const records = [];
  for (let count = 0; count < 5; count++) records.push((await member.next()).value!);
  assert.deepEqual(
    records.map(({ partition, offset }) => [partition, offset]),
    [
      [0, 0],
      [0, 1],
      [0, 2],
      [1, 0],
      [1, 1],
    ],
  );
  for (const done of [records[1], records, undefined, []]) await member.commit(done);
  assert.deepEqual(commits(server), [{ 0: 2 }, { 0: 3, 1: 2 }, { 0: 3, 1: 1 }]);
  await assert.rejects(member.commit({ ...records[0]!, partition: 7 }), { reason: "revoked" });
  await member.return();
  gate.close();
});

test("a commit is of the assignment of its records", async () => {
  const server = new Server();
  const gate = connect(URL);
  server.write(0, 3);
  const member = gate.subscribe("t", { group: "g", from: "earliest" });
  const early = (await member.next()).value!;
  server.renew();
  // The client has not heard of it.
  await assert.rejects(member.commit(early), { code: 22, reason: "revoked", message: `too late: ${AGAIN}` });
  await settled();
  const again = (await member.next()).value!;
  assert.deepEqual([again.offset, early.assignment, again.assignment], [0, 1, 2]);
  for (const record of [early, { ...early }, [again, early]]) {
    await assert.rejects(member.commit(record), {
      reason: "revoked",
      message: `the record came before a rebalance: ${AGAIN}`,
    });
  }
  await member.commit(again);
  assert.deepEqual([...server.committed], [[0, 1n]]);
  gate.close();
});

test("a partition without a leader begins later", async () => {
  const server = new Server();
  const gate = connect(URL);
  const member = gate.subscribe("t", { group: "g", from: "earliest" });
  const next = member.next();
  await settled();
  const topics = [{ topic: "t", partitions: [{ partition: 1, offset: 0n }] }];
  server.tell({ case: "kafkaSubscribedResp", value: { topics } });
  server.write(1, 1);
  assert.equal((await next).value?.partition, 1);
  gate.close();
});

test("a failed commit says whether others read on", async () => {
  const server = new Server();
  const gate = connect(URL);
  server.write(0, 1);
  const member = gate.subscribe("t", { group: "g", from: "earliest" });
  await member.next();
  for (const [code, reason, message] of [
    [22, "revoked", `why: ${AGAIN}`],
    [25, "revoked", `why: ${AGAIN}`],
    [27, "revoked", `why: ${AGAIN}`],
    [30, "denied", "why"],
  ] as const) {
    server.answer = (req) => {
      if (req.case !== "cmdKafkaCommit") return undefined;
      return { case: "kafkaCommitResp", value: { results: [{}, { error: { code, message: "why", reason: 3 } }] } };
    };
    await assert.rejects(member.commit(), { name: "GateError", code, reason, message });
  }
  server.answer = undefined;
  server.answers = false;
  const commit = member.commit();
  server.cut();
  await assert.rejects(commit, { reason: "revoked", message: `the connection was closed (1006): ${AGAIN}` });
  gate.close();
});

test("with `autoCommit`, what the loop has come back for is committed, in time and at the end", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const server = new Server();
  const gate = connect(URL);
  server.write(0, 9);
  const end = new AbortController();
  const options = { group: "g", from: "earliest", autoCommit: true, signal: end.signal } as const;
  const again = [0, 1, 2, 3, 4];
  for await (const { offset } of gate.subscribe("t", options)) {
    assert.equal(offset, again.shift());
    await settled();
    if (offset === 3) {
      t.mock.timers.tick(2999);
      assert.deepEqual(commits(server), []);
      t.mock.timers.tick(1);
      await settled();
    }
    if (offset === 4) break;
  }
  assert.deepEqual(commits(server), [
    { 0: 3, 1: 0 },
    { 0: 4, 1: 0 },
  ]);
  await settled();
  assert.equal(server.commands.at(-1)?.case, "cmdUnsubscribe", "the member leaves after its last commit");
  // The last record was not done with. A signal ends the loop as `break` does.
  const member = gate.subscribe("t", options);
  for (const expected of [4, 5]) assert.equal((await member.next()).value?.offset, expected);
  end.abort();
  assert.equal((await member.next()).done, true);
  await settled();
  assert.deepEqual([commits(server).at(-1), server.commands.at(-1)?.case], [{ 0: 5, 1: 0 }, "cmdUnsubscribe"]);
  gate.close();
});

test("a commit of `autoCommit` that cannot succeed ends the loop", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const server = new Server();
  const gate = connect(URL);
  server.write(0, 1);
  const member = gate.subscribe("t", { group: "g", from: "earliest", autoCommit: true });
  await member.next();
  const failures = [
    { code: 27, message: "others" },
    { code: 15, message: "busy", retriable: true },
    { code: 30, message: "denied", reason: 3 },
  ];
  server.answer = (req) =>
    req.case === "cmdKafkaCommit"
      ? { case: "kafkaCommitResp", value: { results: [{ error: failures.shift() }] } }
      : undefined;
  const next = member.next();
  next.catch(() => {});
  while (failures.length) {
    server.tell({
      case: "kafkaSubscriptionEvent",
      value: { event: { case: "caughtUp", value: { topic: "t", partition: 0, nextOffset: 1n } } },
    });
    await settled();
    t.mock.timers.tick(3000);
    await settled();
  }
  await assert.rejects(next, { code: 30, reason: "denied" });
  gate.close();
});

test("a bridge that does not know groups is named, before there are records", async () => {
  const server = new Server();
  const gate = connect(URL);
  server.write(0, 1);
  server.answer = (req) => {
    if (req.case !== "cmdKafkaSubscribe") return undefined;
    const topics = [{ topic: "t", partitions: [{ partition: 0, offset: 0n }] }];
    return { case: "kafkaSubscribedResp", value: { topics } };
  };
  await assert.rejects(gate.subscribe("t", { group: "g" }).next(), {
    reason: "protocol",
    message: "the bridge has no groups: expected a newer one",
  });
  gate.close();
});
