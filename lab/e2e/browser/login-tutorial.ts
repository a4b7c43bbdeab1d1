// The tutorial's page with logins works as it is shown, and so does the demo's own: `login-tutorial.ts GATEWAY PROVIDER
// PORT SCREENSHOTS`, where PROVIDER and PORT are ports. Tokens are valid for seconds.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";

import { launch } from "./browser.ts";
import { Person } from "./people.ts";
import { args, end, until } from "./script.ts";

const [gateway = "", provider = "", port = "", screenshots = ""] = args;
const root = new URL("../../../", import.meta.url);
const read = (file: string) => readFileSync(new URL(file, root), "utf8");
const tutorial = read("docs/tutorials/each-user-sees-their-own.md");
const [, shown = ""] = /```html\n(.*?)```/s.exec(tutorial) ?? [];
const html = shown
  .replaceAll("127.0.0.1:8080", gateway)
  .replaceAll("127.0.0.1:8081", `127.0.0.1:${provider}`)
  .replaceAll("127.0.0.1:3000", `127.0.0.1:${port}`);
const scripts = new Map([
  ["/sluicegate.min.js", read("clients/typescript/dist/sluicegate.min.js")],
  ["/oidc-client-ts.min.js", read("node_modules/oidc-client-ts/dist/browser/oidc-client-ts.min.js")],
]);
const server = createServer((request, response) => {
  const script = scripts.get(request.url ?? "");
  response.setHeader("content-type", script ? "text/javascript" : "text/html");
  response.end(script ?? html);
});
await new Promise<void>((resolve) => server.listen(Number(port), "127.0.0.1", resolve));

const browser = await launch();
const shoot = (person: Person, name: string) => person.page.screenshot({ path: join(screenshots, `${name}.png`) });

// The demo's own page.
const home = `http://${gateway}/`;
const [alice, bob] = [await Person.open(browser, home), await Person.open(browser, home)];
await alice.logIn("Alice");
await bob.logIn("Bob");
for (const [person, own, other] of [
  [alice, "alice", "bob"],
  [bob, "bob", "alice"],
] as const) {
  const { page } = person;
  await person.shows(/Connection: open/);
  for (const gate of ["north", "middle", "southern"]) await person.shows(new RegExp(`${gate}: \\d+ cm`));
  await page.locator("input").fill(`planks of ${own}`);
  await page.getByRole("button", { name: "Order", exact: true }).click();
  await person.shows(new RegExp(`\\d+: planks of ${own}`));
  await page.getByRole("button", { name: `Read orders.${other}` }).click();
  await person.shows(/denied: /);
}
await shoot(alice, "login");
await bob.page.locator("#logout").click();
await bob.shows(/Nobody is logged in/);
await shoot(bob, "logged-out");

// The tutorial's, with the same users.
const own = `http://127.0.0.1:${port}/`;
const [here, there] = [await Person.open(browser, own), await Person.open(browser, own)];
await here.logIn("Alice");
await here.shows(/planks of alice/);
await there.logIn("Bob");
await there.shows(/You are bob.*planks of bob/s);
await here.page.locator("input").fill("nails of alice");
await here.page.getByRole("button", { name: "Write" }).click();
await here.shows(/nails of alice/);
await alice.shows(/nails of alice/);
assert.doesNotMatch(await there.page.innerText("body"), /alice/);

// Each of them goes on with one socket, whatever the number of tokens.
const tokens = async () => Number(await here.page.locator("#tokens").innerText());
await until(
  () => "two renewals",
  async () => (await tokens()) >= 3,
);
assert.equal(here.sockets, 1);
await here.shows(/Connection: open/);

await here.page.locator("#logout").click();
await here.shows(/Nobody is logged in/);
// Bob logs in where Alice was, and sees nothing of hers.
await here.logIn("Bob");
await here.shows(/You are bob.*planks of bob/s);
assert.doesNotMatch(await here.page.innerText("body"), /alice/);

// A logout in another tab ends the page's login with its token, and nothing of the user stays.
for (const [person, own] of [
  [alice, "alice"],
  [there, "bob"],
] as const) {
  const tab = await person.page.context().newPage();
  await tab.goto(`http://127.0.0.1:${provider}/session/end`);
  await tab.getByRole("heading", { name: "Logged out" }).waitFor();
  await person.shows(/Nobody is logged in.*log in again/s);
  assert.doesNotMatch(await person.page.innerText("body"), new RegExp(`planks of ${own}`));
}

for (const { errors } of [alice, bob, here, there]) assert.deepEqual(errors, []);
await browser.close();
server.close();
end();
