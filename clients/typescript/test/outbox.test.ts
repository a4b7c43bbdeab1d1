import "fake-indexeddb/auto";

import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";
import { setTimeout } from "node:timers/promises";

import { Reason } from "../src/generated/pubsub_pb.ts";
import { times } from "../src/outbox/sender.ts";
import { connect, type Gate, GateError, type Outbox, type OutboxOptions, openOutbox } from "../src/outbox.ts";
import { Accounts, WINDOW } from "./accounts.ts";
import { Server } from "./server.ts";

times.settled = times.look = 20;

const URL = "ws://gateway/pubsub";

/** A page with an outbox, of a user of its own unless it says which. */
function page(options: OutboxOptions = {}, login?: () => { token: string }): { gate: Gate; outbox: Outbox } {
  const gate = connect(URL, login && { refresh: async () => login() });
  return { gate, outbox: openOutbox(gate, "t", { identity: `user ${users}`, ...options }) };
}

let users = 0;

beforeEach(() => {
  users++;
  mock.restoreAll();
  // Pauses between attempts end at once.
  mock.method(Math, "random", () => 0);
});

function start(): { server: Server; accounts: Accounts } {
  const server = new Server();
  return { server, accounts: new Accounts(server) };
}

async function until(what: string, holds: () => unknown): Promise<void> {
  for (const start = Date.now(); !holds(); await setTimeout(1)) assert(Date.now() - start < 5000, what);
}

const put = (outbox: Outbox, ...texts: string[]) =>
  Promise.all(texts.map((text) => outbox.put({ key: text[0]!, value: text.slice(1) })));

const isEmpty = (outbox: Outbox) => () => outbox.state.waiting === 0;

/** A token of a user. */
const token = (sub: string) => ({ token: `e30.${btoa(JSON.stringify({ iss: "i", sub }))}.x`.replaceAll("=", "") });

/** Calls `dies` instead of the transaction with this number. */
function dieAt(number: number, dies: () => void): void {
  let count = 0;
  const { transaction } = IDBDatabase.prototype;
  mock.method(
    IDBDatabase.prototype,
    "transaction",
    function (this: IDBDatabase, ...args: Parameters<typeof transaction>) {
      // Others are fake-indexeddb's own.
      if (args[2]) count++;
      if (args[2] && count === number) dies();
      return transaction.apply(this, args);
    },
  );
}

for (const loses of [undefined, "before", "after"] as const) {
  test(`a page that dies at any step has each record written once (${loses ?? "no"} lost connection)`, async () => {
    const records = ["a1", "b1", "a2", "a3", "b2"];
    let isDead = true;
    for (let step = 1; isDead; step++) {
      users++;
      const { accounts } = start();
      let losses = 2;
      accounts.loses = () => (losses-- > 0 ? loses : undefined);
      isDead = false;
      const first = page();
      dieAt(step, () => {
        isDead = true;
        first.gate.close();
        throw new Error("dead");
      });
      const stored = await put(first.outbox, ...records).catch(() => undefined);
      await until("dead or done", () => isDead || (stored && first.outbox.state.waiting === 0));
      first.gate.close();
      mock.restoreAll();
      mock.method(Math, "random", () => 0);
      const second = page();
      if (!stored) await put(second.outbox, ...records);
      await put(second.outbox, "a4");
      await until("all are written", isEmpty(second.outbox));
      second.gate.close();
      const expected = ["b1", "b2", "a1", "a2", "a3", "a4"];
      assert.deepEqual([accounts.values, accounts.youngRepeats], [expected, 0], `died at ${step}`);
    }
  });
}

for (const loses of [undefined, "before", "after"] as const) {
  test(`each record is written once if any transaction fails (${loses ?? "no"} lost connection)`, async () => {
    const records = ["a1", "b1", "a2", "a3", "b2"];
    let hasFailed = true;
    for (let step = 1; hasFailed; step++) {
      users++;
      const { accounts } = start();
      let losses = 2;
      accounts.loses = () => (losses-- > 0 ? loses : undefined);
      hasFailed = false;
      dieAt(step, () => {
        hasFailed = true;
        throw new Error("connection to the database lost");
      });
      const { gate, outbox } = page();
      await put(outbox, ...records).catch(() => put(outbox, ...records));
      await until(`all are written, failed at ${step}`, isEmpty(outbox));
      gate.close();
      mock.restoreAll();
      mock.method(Math, "random", () => 0);
      assert.deepEqual(accounts.values, ["b1", "b2", "a1", "a2", "a3"], `failed at ${step}`);
    }
  });
}

const COUNTED = Array.from({ length: 19 }, (_, index) => `a${index + 1}`);

/** Outboxes with records in flight: what happens to those, and what has to be in the topic afterwards. */
const CASES: [string, (accounts: Accounts, outbox: Outbox, server: Server) => Promise<unknown>, string[], string[]?][] =
  [
    [
      "a record that is refused when it is placed leaves no gap",
      async (accounts, outbox) => {
        accounts.refuses = (value) => (value === "2" ? Reason.DENIED : undefined);
        const [, two] = await put(outbox, "a1", "a2", "a3");
        await assert.rejects(two!.written, { reason: "denied", unknownOutcome: false });
      },
      ["a1", "a3"],
      ["denied"],
    ],
    [
      "a record that is refused when it is sent first leaves its sequence to the next",
      async (accounts, outbox) => {
        accounts.refuses = (value, isDryRun) => (value === "2" && !isDryRun ? Reason.INVALID_RECORD : undefined);
        await put(outbox, "a1", "a2", "a3");
        await until("they are written", () => accounts.values.length === 2);
        assert.deepEqual(accounts.sent, ["0: 1,3"]);
      },
      ["a1", "a3"],
      ["invalid_record"],
    ],
    ...(["before", "after"] as const).map((when): (typeof CASES)[0] => [
      `a record that is refused after an attempt was lost ${when} it was written`,
      async (accounts, outbox) => {
        accounts.loses = (values) => {
          accounts.loses = () => undefined;
          queueMicrotask(() => {
            accounts.refuses = (value) => (value === "2" ? Reason.DENIED : undefined);
          });
          return values.length > 2 ? when : undefined;
        };
        await put(outbox, "a1", "a2", "a3", "a4");
      },
      when === "before" ? ["a1", "a3", "a4"] : ["a1", "a2", "a3", "a4"],
      ["denied, or written"],
    ]),
    [
      "an account that the partition has forgotten begins anew",
      async (accounts, outbox) => {
        await (await put(outbox, "a1"))[0]!.written;
        accounts.known.clear();
        await put(outbox, "a2", "a3");
      },
      ["a1", "a2", "a3"],
    ],
    [
      "records that may have been written before an account was forgotten are told apart",
      async (accounts, outbox) => {
        await (await put(outbox, "a1"))[0]!.written;
        accounts.loses = () => {
          accounts.loses = () => undefined;
          accounts.known.clear();
          accounts.areWhole = false;
          return "before";
        };
        await put(outbox, "a2");
        await until("it is told", () => outbox.state.refused);
        await put(outbox, "a3");
      },
      ["a1", "a3"],
      ["expired, or written"],
    ],
    [
      "records that no attempt has written before an account was forgotten begin the next epoch",
      async (accounts, outbox) => {
        await (await put(outbox, "a1"))[0]!.written;
        accounts.loses = () => {
          accounts.loses = () => undefined;
          accounts.known.clear();
          return "before";
        };
        await put(outbox, "a2", "a3");
      },
      ["a1", "a2", "a3"],
    ],
    [
      "another copy of the outbox has fenced this one",
      async (accounts, outbox) => {
        await (await put(outbox, "a1"))[0]!.written;
        for (const account of accounts.known.values()) Object.assign(account, { epoch: 3, next: 1 });
        await put(outbox, "a2");
      },
      ["a1", "a2"],
    ],
    [
      "another copy of the outbox has taken the sequence",
      async (accounts, outbox) => {
        await (await put(outbox, "a1"))[0]!.written;
        for (const account of accounts.known.values()) account.next++;
        const [two] = await put(outbox, "a2", "a3");
        assert.deepEqual(await two!.written, { partition: 1, offset: 2, duplicate: false, duplicateWindowMs: WINDOW });
      },
      ["a1", "a3", "a2"],
    ],
    [
      "messages above the gateway's limit are made smaller, and a record above it is refused",
      async (_, outbox, server) => {
        server.limit = 1200;
        await put(
          outbox,
          ...Array.from({ length: 20 }, (_, index) => `a${`${index}`.padEnd(100)}`),
          `a${"x".repeat(2000)}`,
        );
      },
      Array.from({ length: 20 }, (_, index) => `a${`${index}`.padEnd(100)}`),
      ["too_large"],
    ],
    [
      "batches above the topic's limit are made smaller",
      async (accounts, outbox) => {
        accounts.refusesAll = (values) => (values.length > 6 ? Reason.TOO_LARGE : undefined);
        await put(outbox, ...COUNTED);
        await until("they are written", () => accounts.values.length === COUNTED.length);
        assert.deepEqual(accounts.sent, ["0: 1,2,3,4,5", "5: 6,7,8,9,10,11", "11: 12,13,14,15", "15: 16,17,18,19"]);
      },
      COUNTED,
    ],
    [
      "a record for which its whole batch is refused is found",
      async (accounts, outbox) => {
        accounts.refusesAll = (values) => (values.includes("7") ? Reason.INVALID_RECORD : undefined);
        await put(outbox, ...COUNTED);
      },
      COUNTED.filter((record) => record !== "a7"),
      ["invalid_record"],
    ],
    [
      "what fails for a while is repeated",
      async (accounts, outbox) => {
        let failures = 4;
        accounts.refuses = () => (failures-- > 0 ? Reason.TRANSIENT : undefined);
        await put(outbox, "a1", "a2");
      },
      ["a1", "a2"],
    ],
  ];

for (const [name, happens, expected, refused = []] of CASES) {
  test(name, async () => {
    const { server, accounts } = start();
    const { gate, outbox } = page();
    const told: string[] = [];
    outbox.addEventListener("refused", ({ detail: { error } }) => {
      told.push(`${error.reason}${error.unknownOutcome ? ", or written" : ""}`);
    });
    await happens(accounts, outbox, server);
    await until(`none waits, ${JSON.stringify(outbox.state)}`, isEmpty(outbox));
    assert.deepEqual([accounts.values, told], [expected, refused]);
    assert.equal((await outbox.refused()).length, refused.length);
    gate.close();
  });
}

test("a record that no attempt has written is as new to the next page", async () => {
  const { accounts } = start();
  const first = page();
  await (await put(first.outbox, "a1"))[0]!.written;
  accounts.refuses = (_, isDryRun) => (isDryRun ? undefined : Reason.QUEUE_FULL);
  mock.method(Math, "random", () => 1);
  await put(first.outbox, "a2");
  await until("it has failed", () => first.outbox.state.error);
  first.gate.close();
  accounts.refuses = () => undefined;
  accounts.known.clear();
  accounts.areWhole = false;
  const second = page();
  await until("none waits", () => second.outbox.state.bytes === 0 && accounts.values.length === 2);
  assert.deepEqual([accounts.values, second.outbox.state.refused], [["a1", "a2"], 0]);
  second.gate.close();
});

test("a record does not get the sequence of one that another page may have written", async () => {
  const { accounts } = start();
  const first = page();
  await (await put(first.outbox, "a0"))[0]!.written;
  accounts.loses = () => {
    accounts.loses = () => undefined;
    accounts.refuses = (value) => (value === "1" ? Reason.DENIED : undefined);
    return "before";
  };
  await put(first.outbox, "a1");
  await until("it is refused", () => first.outbox.state.refused);
  first.gate.close();
  const second = page();
  await (await put(second.outbox, "a2"))[0]!.written;
  assert.deepEqual(accounts.sent, ["0: 0", "2: 2", "0: 2"]);
  assert.deepEqual([...accounts.known.values()], [{ epoch: 1, next: 1 }]);
  second.gate.close();
});

test("refused records are kept aside until they are tried again, or discarded", async () => {
  const { accounts } = start();
  const { gate, outbox } = page({ maxRecords: 3 });
  accounts.refuses = (value) => (value === "1" ? undefined : Reason.DENIED);
  await put(outbox, "a1", "b2", "b3");
  await until("two are refused", () => outbox.state.refused === 2 && isEmpty(outbox)());
  await put(outbox, "a1");
  await assert.rejects(put(outbox, "a4", "a4"), {
    reason: "queue_full",
    message: /^the outbox is full: \d records wait, 2 were refused, \d bytes in all, of at most 3 and 16777216$/,
  });
  accounts.refuses = () => undefined;
  const [two, three] = await outbox.refused();
  assert.deepEqual([two?.error.message, `${two?.record.value}`], ["DENIED", "50"]);
  await outbox.discard([three!.number]);
  await outbox.retry();
  await until("none waits", isEmpty(outbox));
  assert.deepEqual([accounts.logs[0], outbox.state.refused, await outbox.refused()], [["b2"], 0, []]);
  assert.equal(outbox.state.bytes, 0);
  gate.close();
});

test("tabs put into one outbox, of which one sends until it is closed", async () => {
  const { accounts } = start();
  const [one, other] = [page(), page()];
  const [first] = await put(one.outbox, "a1");
  const [second] = await put(other.outbox, "a2");
  assert.deepEqual([(await first!.written).offset, (await second!.written).offset], [0, 1]);
  await until("both know", () => isEmpty(one.outbox)() && isEmpty(other.outbox)());
  accounts.refuses = () => Reason.INVALID_RECORD;
  const [third] = await put(other.outbox, "a3");
  await assert.rejects(third!.written, { name: "GateError", reason: "invalid_record", message: "INVALID_RECORD" });
  accounts.refuses = () => undefined;
  const [left] = await put(one.outbox, "b1");
  one.gate.close();
  await assert.rejects(one.outbox.put({ value: 1 }), { reason: "closed" });
  const [last] = await put(other.outbox, "a4");
  await last!.written;
  await left!.written.catch((error) => assert.equal(error.reason, "closed"));
  await until("none waits", isEmpty(other.outbox));
  assert.deepEqual(accounts.values, ["b1", "a1", "a2", "a4"]);
  other.gate.close();
});

test("a page whose lock was stolen sends nothing more", async () => {
  const { accounts } = start();
  const [one, other] = [page(), page()];
  await (await put(one.outbox, "a1"))[0]!.written;
  let isStolen = false;
  accounts.loses = () => (isStolen ? undefined : "before");
  await put(one.outbox, "a2");
  const { held = [] } = await navigator.locks.query();
  for (const { name } of held) await navigator.locks.request(name!, { steal: true }, () => {});
  isStolen = true;
  for (let number = 3; number < 9; number++) await put(number % 2 ? one.outbox : other.outbox, `a${number}`);
  await until("none waits", isEmpty(other.outbox));
  await setTimeout(50);
  assert.deepEqual(accounts.values, ["a1", "a2", "a3", "a4", "a5", "a6", "a7", "a8"]);
  for (const { gate } of [one, other]) gate.close();
});

test("records of a user are not sent with the login of another", async () => {
  const { accounts } = start();
  let user = "ann";
  const { gate, outbox } = page({ identity: undefined as never }, () => token(user));
  await (await put(outbox, "a1"))[0]!.written;
  user = "bob";
  gate.reconnect();
  await put(outbox, "a2");
  await until("it is told", () => outbox.state.error?.message === "the login is of another user than the outbox");
  const bobs = page({ identity: undefined as never }, () => token(user));
  await (await put(bobs.outbox, "a3"))[0]!.written;
  assert.deepEqual(accounts.values, ["a1", "a3"]);
  user = "ann";
  gate.reconnect();
  await until("none waits", isEmpty(outbox));
  assert.deepEqual(accounts.values, ["a1", "a3", "a2"]);
  for (const { gate: of } of [{ gate }, bobs]) of.close();
});

test("a bridge that is too old is not written to twice", async () => {
  for (const partition of [undefined, 1]) {
    users++;
    const { accounts } = start();
    accounts.isOld = true;
    const { gate, outbox } = page();
    const { written } = await outbox.put({ key: "a", value: "1", ...(partition && { partition }) });
    assert.deepEqual([(await written).partition, (await written).offset], [1, 0]);
    await until("it is told", () => outbox.state.error);
    assert.match(`${outbox.state.error?.message}`, /too old for outboxes/);
    await put(outbox, "a2");
    await setTimeout(20);
    assert.deepEqual([accounts.values, outbox.state.waiting], [["a1"], 1]);
    gate.close();
  }
});

test("records that have waited for too long are refused without a connection", async () => {
  const { server, accounts } = start();
  const { gate, outbox } = page({ maxAge: 100 });
  await (await put(outbox, "a1"))[0]!.written;
  server.refuses = true;
  server.cut();
  const { written } = await outbox.put({ value: "2", partition: 1 });
  const [three] = await put(outbox, "b3");
  for (const old of [written, three!.written]) await assert.rejects(old, { reason: "expired", unknownOutcome: false });
  assert.equal(outbox.state.refused, 2);
  gate.close();
  assert.deepEqual(accounts.values, ["a1"]);
});

test("records that may have been written are not too old", async () => {
  const { server, accounts } = start();
  const { gate, outbox } = page({ maxAge: 100 });
  accounts.loses = () => "before";
  const [one] = await put(outbox, "a1");
  const [two] = await put(outbox, "a2");
  await setTimeout(50);
  server.refuses = true;
  server.cut();
  await assert.rejects(two!.written, { reason: "expired", unknownOutcome: false });
  server.refuses = false;
  accounts.loses = () => undefined;
  await one!.written;
  gate.close();
  assert.deepEqual(accounts.values, ["a1"]);
});

test("a clock that is set forward does not end the wait for an attempt that can still arrive", async (t) => {
  const { accounts } = start();
  const settled = times.settled;
  times.settled = 200;
  t.after(() => {
    times.settled = settled;
  });
  const { gate, outbox } = page();
  await (await put(outbox, "a1"))[0]!.written;
  let lost = 0;
  accounts.loses = () => {
    lost = performance.now();
    accounts.loses = () => undefined;
    accounts.known.clear();
    return "before";
  };
  const [two] = await put(outbox, "a2");
  await until("it has failed", () => outbox.state.error);
  const { now } = Date;
  mock.method(Date, "now", () => now() + 3_600_000);
  await two!.written;
  assert(performance.now() - lost >= 200);
  gate.close();
  assert.deepEqual(accounts.values, ["a1", "a2"]);
});

test("records are not too old if the clock was set back before they were put", async () => {
  const { accounts } = start();
  const { gate, outbox } = page();
  const { now } = Date;
  mock.method(Date, "now", () => now() - 30 * 24 * 3_600_000);
  await (await put(outbox, "a1"))[0]!.written;
  gate.close();
  assert.deepEqual(accounts.values, ["a1"]);
});

test("an outbox that cannot store says so, and works in memory", async (t) => {
  const { accounts } = start();
  t.mock.method(indexedDB, "open", () => {
    throw new Error("blocked");
  });
  const { gate, outbox } = page();
  const failed = { name: "GateError", reason: "storage", message: "the record was not stored: blocked" };
  await assert.rejects(put(outbox, "a1"), failed);
  const memory = openOutbox(gate, "t", { store: "memory" });
  const [first] = await put(memory, "a1");
  assert.equal((await first!.written).offset, 0);
  assert.throws(() => openOutbox(gate, "t", { store: "disk" as never }), {
    message: 'openOutbox: options.store: expected "indexedDB" or "memory", got "disk"',
  });
  await assert.rejects(memory.put({ key: "a" } as never), { message: /^put: record.value is missing/ });
  await assert.rejects(memory.put({ value: 1, timestamp: new Date() } as never), { message: /^put: record.timestamp/ });
  gate.close();
  assert.deepEqual(accounts.values, ["a1"]);
});

test("an outbox goes on after the browser has ended a transaction without an error", async () => {
  const { accounts } = start();
  const { getAll } = IDBObjectStore.prototype;
  let aborts = 2;
  mock.method(IDBObjectStore.prototype, "getAll", function (this: IDBObjectStore, ...args: Parameters<typeof getAll>) {
    const found = getAll.apply(this, args);
    if (aborts-- > 0) this.transaction.abort();
    return found;
  });
  const { gate, outbox } = page();
  await (await put(outbox, "a1"))[0]!.written;
  gate.close();
  assert.deepEqual(accounts.values, ["a1"]);
});

test("cleared records are not sent", async () => {
  const { server, accounts } = start();
  server.refuses = true;
  const { gate, outbox } = page();
  const [one] = await put(outbox, "a1");
  await outbox.clear();
  await assert.rejects(
    one!.written,
    (error) => error instanceof GateError && error.message === "the outbox was cleared",
  );
  server.refuses = false;
  const [two] = await put(outbox, "a2");
  await two!.written;
  await until("none waits", isEmpty(outbox));
  assert.deepEqual([accounts.values, outbox.state.bytes], [["a2"], 0]);
  gate.close();
});

for (const back of [0, 3_600_000])
  test(`an outbox goes on after the user has removed the site's data (clock set back by ${back} ms)`, async () => {
    const { accounts } = start();
    const { gate, outbox } = page();
    await (await put(outbox, "a1"))[0]!.written;
    await until("none waits", isEmpty(outbox));
    await new Promise((resolve) => {
      indexedDB.deleteDatabase("sluicegate-outbox").onsuccess = resolve;
    });
    const { now } = Date;
    mock.method(Date, "now", () => now() - back);
    await assert.rejects(put(outbox, "a2"), { reason: "storage" });
    await (await put(outbox, "a3"))[0]!.written;
    await until("none waits", isEmpty(outbox));
    assert.deepEqual(accounts.values, ["a1", "a3"]);
    gate.close();
  });
