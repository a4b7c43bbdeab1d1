// A stored table is there at once after a reload, in each tab, for its user alone, and until it is cleared:
// `tables.ts GATEWAY TOPIC`.

import type { Page } from "playwright-core";

import { launch } from "./browser.ts";
import { bundle } from "./bundle.ts";
import { stored } from "./pages/stored.ts";
import type * as pages from "./pages/tables.ts";
import { args, ask, end, until } from "./script.ts";

declare const tables: typeof pages;

const [gateway = "", topic = ""] = args;
const script = await bundle("tables");
const browser = await launch();
const context = await browser.newContext();
context.on("console", (message) => console.error(message.text()));
let isOnline = true;
await context.routeWebSocket(/pubsub/, (socket) => (isOnline ? socket.connectToServer() : socket.close()));

/** Opens the table in a tab, anew if it is a reload. */
async function open(identity: string, reloaded?: Page): Promise<Page> {
  const page = reloaded ?? (await context.newPage());
  await page.goto(`http://${gateway}/none`);
  await page.addScriptTag({ content: script });
  await page.evaluate(
    ([url = "", topic = "", identity = ""]) => tables.open(url, topic, identity),
    [`ws://${gateway}/pubsub`, topic, identity],
  );
  return page;
}

/** Waits until the table is as wanted. */
async function shows(page: Page, status: string, values: Record<string, unknown>): Promise<void> {
  let state: unknown;
  const isShown = async () => {
    state = await page.evaluate(() => tables.state());
    return JSON.stringify(state) === JSON.stringify({ status, values });
  };
  await until(() => `${JSON.stringify(state)} instead of ${status} ${JSON.stringify(values)}`, isShown);
}

async function isStored(page: Page, keys: string[]): Promise<void> {
  let found: unknown;
  const isThere = async () => {
    found = await page.evaluate(stored);
    return JSON.stringify(found) === JSON.stringify(keys);
  };
  await until(() => `${JSON.stringify(found)} is stored instead of ${JSON.stringify(keys)}`, isThere);
}

const write = (page: Page, key: string, value: unknown) =>
  page.evaluate(([topic, key, value]) => tables.write(topic as string, key as string, value), [topic, key, value]);

const first = await open("ann");
await shows(first, "current", {});
await write(first, "a", 1);
await shows(first, "current", { a: 1 });
await isStored(first, ["a"]);

const second = await open("ann");
await shows(second, "current", { a: 1 });
await write(first, "b", 2);
for (const page of [first, second]) await shows(page, "current", { a: 1, b: 2 });
await isStored(second, ["a", "b"]);

isOnline = false;
await open("ann", first);
await shows(first, "stale", { a: 1, b: 2 });
const other = await open("bob");
await shows(other, "loading", {});
isOnline = true;
await shows(other, "current", { a: 1, b: 2 });
await shows(first, "current", { a: 1, b: 2 });
await isStored(other, ["a", "b", "a", "b"]);
await other.close();

// Another topic of the same name.
isOnline = false;
await open("ann", first);
await shows(first, "stale", { a: 1, b: 2 });
await ask("recreate");
isOnline = true;
await shows(first, "current", {});
await shows(second, "current", {});
await write(first, "c", 3);
for (const page of [first, second]) await shows(page, "current", { c: 3 });

// A logout in one tab is one in all.
await second.evaluate(() => tables.clear());
await isStored(first, []);
await write(first, "d", 4);
for (const page of [first, second]) await shows(page, "current", { c: 3, d: 4 });
isOnline = false;
await open("ann", first);
await isStored(first, []);
await shows(first, "loading", {});
await browser.close();
end();
