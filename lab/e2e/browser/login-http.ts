// Two users log in at an OpenID provider, and each reads and writes only their own by plain HTTP, with tokens that the
// bridge verifies: `login-http.ts GATEWAY ISSUER PORT TOPIC`. Tokens are valid for seconds.

import assert from "node:assert/strict";

import { launch } from "./browser.ts";
import { serve } from "./login-page.ts";
import type * as pages from "./pages/login.ts";
import { Person } from "./people.ts";
import { args, ask, end, until } from "./script.ts";

declare const login: typeof pages;

/** Of each user: the streams of the first two have ended with them. */
const TOKENS = 3;

const [gateway = "", issuer = "", port = "", shared = ""] = args;
const server = await serve(Number(port), gateway, issuer);
const browser = await launch();
const open = async (name: "Alice" | "Bob") => {
  const person = await Person.open(browser, `http://127.0.0.1:${port}/`);
  await person.logIn(name);
  await person.shows(new RegExp(`^${name}$`, "im"));
  return { person, topic: `${shared}.${name.toLowerCase()}` };
};
const told = ({ page }: Person) => page.evaluate(() => login.told());

const [alice, bob] = [await open("Alice"), await open("Bob")];
for (const [{ person, topic }, other] of [
  [alice, bob.topic],
  [bob, alice.topic],
] as const) {
  const rights = (topic: string) => person.page.evaluate((topic) => login.rightsByHttp(topic), topic);
  assert.deepEqual(await rights(topic), [200, 200, 200]);
  assert.deepEqual(await rights(other), [403, 403, 403]);
  assert.deepEqual(await rights(shared), [200, 200, 403]);
}

// A stream ends with its token, and the next one goes on behind its last record.
await Promise.all(
  [alice, bob].map(async ({ person, topic }) => {
    await person.page.evaluate((topic) => login.followByHttp(topic), topic);
    const written = await person.page.evaluate(([topic, until]) => login.writeByHttp(topic, until), [
      topic,
      TOKENS,
    ] as const);
    const all = [-1, ...Array(written).keys()];
    const numbers = await until(
      () => `${all.length} records of ${topic}`,
      async () => {
        const { numbers = [] } = (await told(person)).loops[topic] ?? {};
        return numbers.length >= all.length && numbers;
      },
    );
    assert.deepEqual(numbers, all);
    assert.ok(written > 10, `${written} records`);
  }),
);

// An operator ends Alice's streams at the bridge, and then her login at the provider. Bob's go on.
await ask("revoke alice");
const tab = await alice.person.page.context().newPage();
await tab.goto(`${issuer}/session/end`);
await tab.getByRole("heading", { name: "Logged out" }).waitFor();
await until(
  () => "the end of the stream",
  async () => (await told(alice.person)).loops[alice.topic]?.end === "closed: logged out at the provider",
);
const { numbers: before = [] } = (await told(bob.person)).loops[bob.topic] ?? {};
await ask(`write ${alice.topic}`);
await ask(`write ${bob.topic}`);
await until(
  () => "Bob's record",
  async () => (await told(bob.person)).loops[bob.topic]?.numbers.length === before.length + 1,
);

for (const { errors } of [alice.person, bob.person]) assert.deepEqual(errors, []);
await browser.close();
server.close();
end();
