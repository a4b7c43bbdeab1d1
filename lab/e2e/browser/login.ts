// Two users log in at an OpenID provider, and each reads and writes only their own over a session that outlives its
// tokens: `login.ts GATEWAY ISSUER PORT TOPIC`. Tokens are valid for seconds.

import assert from "node:assert/strict";

import { launch } from "./browser.ts";
import { serve } from "./login-page.ts";
import type * as pages from "./pages/login.ts";
import { Person } from "./people.ts";
import { args, ask, end, until } from "./script.ts";

declare const login: typeof pages;

/** The first one, and three renewals: the last but one has lasted until the last one. */
const TOKENS = 4;

const [gateway = "", issuer = "", port = "", shared = ""] = args;
const server = await serve(Number(port), gateway, issuer);
const home = `http://127.0.0.1:${port}/`;
const url = `ws://${gateway}/pubsub`;
const topics = { Alice: `${shared}.alice`, Bob: `${shared}.bob` };
type Name = keyof typeof topics;

const browser = await launch();
const open = async (name: Name) => {
  const person = await Person.open(browser, home);
  await person.logIn(name);
  await begin(person, name);
  return person;
};
const begin = async (person: Person, name: Name) => {
  await person.shows(new RegExp(`^${name}$`, "im"));
  await person.page.evaluate((url) => login.open(url), url);
};
const follow = ({ page }: Person, topic: string) => page.evaluate((topic) => void login.follow(topic), topic);
const told = ({ page }: Person) => page.evaluate(() => login.told());
/** Waits until the page has seen so many of the topic's records. */
const seen = (person: Person, topic: string, count: number) =>
  until(
    () => `${count} records of ${topic}`,
    async () => {
      const { numbers = [] } = (await told(person)).loops[topic] ?? {};
      return numbers.length >= count && numbers;
    },
  );

// Each has rights of their own.
const [alice, bob] = [await open("Alice"), await open("Bob")];
for (const [person, own, other] of [
  [alice, topics.Alice, topics.Bob],
  [bob, topics.Bob, topics.Alice],
] as const) {
  const rights = (topic: string) => person.page.evaluate((topic) => login.rights(topic), topic);
  assert.deepEqual(await rights(own), ["ok", "ok", "ok"]);
  assert.deepEqual(await rights(other), ["denied", "denied", "denied"]);
  await ask(`write ${shared}`);
  assert.deepEqual(await rights(shared), ["ok", "denied", "ok"]);
}

// Renewals under load: each record arrives once, on one socket.
await Promise.all(
  (
    [
      [alice, topics.Alice],
      [bob, topics.Bob],
    ] as const
  ).map(async ([person, topic]) => {
    await follow(person, topic);
    await follow(person, shared);
    const written = await person.page.evaluate(([topic, until]) => login.write(topic, until), [topic, TOKENS] as const);
    const all = [-1, ...Array(written).keys()];
    assert.deepEqual(await seen(person, topic, all.length), all);
    const { tokens, statuses } = await told(person);
    assert.ok(tokens >= TOKENS && written > 100, `${written} records, ${tokens} tokens`);
    assert.deepEqual(statuses, ["connecting", "open"]);
    assert.equal(person.sockets, 1);
  }),
);

// Nothing more comes after a logout, and nothing of it is there for the next user of the same browser.
const before = (await told(bob)).loops;
await bob.page.evaluate(() => login.close());
await ask(`write ${topics.Bob}`);
await ask(`write ${shared}`);
await seen(alice, shared, 3);
assert.deepEqual((await told(bob)).loops, before);
await bob.page.locator("#logout").click();
await bob.shows(/^nobody$/m);
await bob.logIn("Alice");
await begin(bob, "Alice");
assert.deepEqual((await told(bob)).loops, {});
await follow(bob, topics.Bob);
await until(
  () => "the end of Bob's topic for Alice",
  async () => (await told(bob)).loops[topics.Bob]?.end?.startsWith("denied: "),
);

// An operator ends Alice's sessions at the bridge, and then her login at the provider.
const revoked = Date.now();
await ask("revoke alice");
for (const person of [alice, bob]) {
  await until(
    () => "the end of a revoked session",
    async () => (await told(person)).statuses.some((status) => status.includes("(3000 identity revoked)")),
  );
}
assert.ok(Date.now() - revoked < 5000, `${Date.now() - revoked} ms`);
let last = "";
await until(
  () => `${last} is a refusal`,
  async () => {
    last = (await told(alice)).statuses.at(-1) ?? "";
    return last.includes("log in again, because a token in them may be refused");
  },
);
const tab = await alice.page.context().newPage();
await tab.goto(`${issuer}/session/end`);
await tab.getByRole("heading", { name: "Logged out" }).waitFor();
await until(
  () => "the end of the loop",
  async () => (await told(alice)).loops[topics.Alice]?.end === "closed: logged out at the provider",
);
const { statuses } = await told(alice);
assert.equal(statuses.at(-1), "disconnected: logged out at the provider");

for (const { errors } of [alice, bob]) assert.deepEqual(errors, []);
await browser.close();
server.close();
end();
