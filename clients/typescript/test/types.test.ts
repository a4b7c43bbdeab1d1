import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";

import type {
  Data,
  Gate,
  GateError,
  Member,
  PositionStore,
  Positions,
  Schema,
  StreamFetched,
  StreamMessage,
  StreamPositions,
  Subscription,
  Table,
  TopicRecord,
  Written,
} from "../src/index.ts";

const compile = (...args: string[]) =>
  promisify(execFile)("npx", [
    "tsc",
    "--noEmit",
    "--ignoreConfig",
    "--strict",
    "--target",
    "es2022",
    "--module",
    "nodenext",
    ...args,
  ]);

test("the published types are complete in Node", async () => {
  const checked = compile("--lib", "es2022", "--types", "node", "dist/tables.d.ts", "dist/outbox.d.ts");
  await checked.catch(({ stdout, stderr }) => assert.fail(`${stdout}${stderr}`));
});

test("in browsers the compiler names the wrong member of a record, suggests none of a list's, and finds no other fault", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "types-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, "wrong.mts");
  const calls = `gate.produce("t", { key: "k", vlaue: 1 }); gate.publish({ stream: "s", subject: "a", dta: 1 });`;
  const gate = `declare const gate: import(${JSON.stringify(resolve("dist/index.js"))}).Gate;`;
  writeFileSync(file, `${gate}\n${calls}\nexport {};\n`);
  const checked = compile("--lib", "es2022,dom", "dist/tables.d.ts", "dist/outbox.d.ts", file);
  const { stdout }: { stdout: string } = await checked.catch((error) => error);
  assert.match(stdout, /'vlaue' does not exist in type 'NewRecord'.*'dta' does not exist in type 'NewMessage'/s);
  assert.doesNotMatch(stdout, /'(keys|values|at|some)'/);
  const faults = stdout.split("\n").filter((line) => line.includes(": error TS"));
  for (const fault of faults) assert.match(fault, /wrong\.mts\(/);
});

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function same<A, B>(_: Same<A, B>): void {}

/** `npm test` compiles it; nothing runs it. */
export async function types(
  gate: Gate,
  records: PositionStore,
  sequences: PositionStore<StreamPositions>,
): Promise<void> {
  const topics = gate.subscribe("t", { from: 1, partitions: [0], committed: true, positions: records });
  same<typeof topics, Subscription<TopicRecord, Positions>>(true);
  gate.subscribe(["t"], {
    onEvent: (event) => event.type === "storeFailed" || same<typeof event.partition, number>(true),
  });

  const member = gate.subscribe("t", { group: "g", autoCommit: true, onEvent: ({ type }) => type === "revoked" });
  same<typeof member, Member>(true);
  for await (const record of member) await member.commit([record]);
  // @ts-expect-error The group gives the partitions.
  gate.subscribe("t", { group: "g", partitions: [0] });

  const streams = gate.subscribe({ streams: "s", from: new Date(), positions: sequences });
  same<typeof streams, Subscription<StreamMessage, StreamPositions>>(true);
  for await (const { stream, sequence, subject, data, headers } of streams) {
    same<[typeof stream, typeof sequence, typeof subject], [string, number, string]>(true);
    // Neither a payload nor a header of NATS is null.
    data.text();
    headers[0]?.value.text();
  }
  gate.subscribe({
    streams: ["s"],
    onEvent: (event) => {
      if (event.type === "storeFailed") return;
      same<typeof event.stream, string>(true);
      if (event.type === "skipped") same<typeof event.to, number>(true);
      // @ts-expect-error A stream has no partitions.
      event.partition;
    },
  });
  // @ts-expect-error A stream has no partitions.
  gate.subscribe({ streams: "s", partitions: [0] });
  // @ts-expect-error A stream has no transactions.
  gate.subscribe({ streams: "s", committed: true });
  // @ts-expect-error The streams are missing.
  gate.subscribe({ from: "latest" });
  // @ts-expect-error The positions are of topics.
  gate.subscribe({ streams: "s", positions: records });
  // @ts-expect-error Topics have options of their own.
  gate.subscribe("t", { streams: "s" });

  const [record] = (await gate.fetch("t", 0, 0)).records;
  same<typeof record, TopicRecord | undefined>(true);
  const fetched = gate.fetch({ stream: "s", sequence: 1 });
  same<typeof fetched, Promise<StreamFetched>>(true);
  gate.addEventListener("status", ({ detail: { error, retryIn } }) => {
    same<[typeof error, typeof retryIn], [GateError | undefined, number | undefined]>(true);
  });
  // @ts-expect-error A message needs a subject.
  await gate.publish({ stream: "s", data: "x" });
  // @ts-expect-error A record needs a value.
  await gate.produce("t", { key: "x" });
  same<Written, Awaited<ReturnType<typeof one>>>(true);
  same<Written[], Awaited<ReturnType<typeof several>>>(true);
  function one() {
    return gate.produce("t", { value: null });
  }
  function several() {
    return gate.produce("t", [{ value: null }]);
  }
}

interface Order {
  id: number;
}

/** As above, for the types of values. */
export async function values(gate: Gate, schema: Schema<Order>): Promise<void> {
  for await (const { key, value } of gate.subscribe<Order>("orders")) {
    const order = value?.json();
    same<typeof order, Order | undefined>(true);
    key?.json().anything;
  }
  for await (const { value } of gate.subscribe("orders", { schema })) same<typeof value, Data<Order> | undefined>(true);
  for await (const { data } of gate.subscribe({ streams: "orders", schema })) same<typeof data, Data<Order>>(true);
  const [record] = (await gate.fetch("orders", 0, 0, { schema })).records;
  same<typeof record, TopicRecord<Order> | undefined>(true);
  const orders = gate.table("orders", { schema });
  same<typeof orders, Table<Order>>(true);
  const map: ReadonlyMap<string, Order> = orders;
  same<ReturnType<typeof map.get>, Order | undefined>(true);
  for await (const { updated, removed } of orders.changes())
    same<[typeof updated, typeof removed], [ReadonlyMap<string, Order>, ReadonlySet<string>]>(true);
  gate.table("orders", {
    decode: (data) => data.text(),
    onEvent: (event) => {
      if (event.type === "building") same<[typeof event.partition, typeof event.end], [number, number]>(true);
    },
  });
  const texts = gate.table("orders", { decode: (data) => data.text() });
  same<ReturnType<typeof texts.get>, string | undefined>(true);
  const decoded = gate.table<Order>("orders", { decode: true });
  same<ReturnType<typeof decoded.get>, Order | undefined>(true);
  // @ts-expect-error A stream has no schemas.
  gate.table({ stream: "orders", decode: true });
  const subjects = gate.table<Order>({ stream: "orders" });
  same<ReturnType<typeof subjects.record>, StreamMessage<Order> | undefined>(true);
  // @ts-expect-error A stream has no partitions.
  gate.table({ stream: "orders", partitions: [0] });
  // @ts-expect-error A table is read-only.
  orders.set("a", { id: 1 });
  // @ts-expect-error The schema is of other values.
  gate.subscribe<string>("orders", { schema });
}
