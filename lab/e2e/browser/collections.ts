// Collections of TanStack DB show the newest values of a compacted topic, and what changes: `collections.ts GATEWAY TOPIC`.

import assert from "node:assert/strict";

import type { Page } from "playwright-core";

import { launch } from "./browser.ts";
import { bundle } from "./bundle.ts";
import type * as pages from "./pages/collections.ts";
import { args, ask, end, until } from "./script.ts";

declare const collections: typeof pages;

const [gateway = "", topic = ""] = args;
const url = `http://${gateway}/state/${topic}/0`;
const script = await bundle("collections");
const browser = await launch();
const errors: Error[] = [];

/** Opens the collection in a page of this origin. */
async function open(origin: string, live: "sse" | "long-poll"): Promise<Page> {
  const page = await browser.newPage();
  page.on("pageerror", (error) => errors.push(error));
  await page.goto(`${origin}/none`);
  await page.addScriptTag({ content: script });
  await page.evaluate(([url, topic, live]) => collections.open(url, topic, live), [url, topic, live] as const);
  return page;
}

async function shows(page: Page, rows: Record<string, string>): Promise<void> {
  let shown: Record<string, string> = {};
  const isShown = async () => {
    shown = await page.evaluate(() => collections.rows());
    return JSON.stringify(Object.entries(shown).sort()) === JSON.stringify(Object.entries(rows).sort());
  };
  await until(() => `${JSON.stringify(shown)} instead of ${JSON.stringify(rows)}`, isShown);
}

// A page of the gateway's origin, and one of another.
const opened = [
  await open(`http://${gateway}`, "long-poll"),
  await open(`http://${gateway.replace("127.0.0.1", "localhost")}`, "sse"),
];
const [page] = opened as [Page, Page];
for (const page of opened) {
  assert.deepEqual(await page.evaluate(() => collections.rows()), { a: "paid", c: "open" });
  await page.evaluate(() => collections.changed());
}

await ask("write b open");
for (const page of opened) await shows(page, { a: "paid", b: "open", c: "open" });
await ask("delete c");
for (const page of opened) await shows(page, { a: "paid", b: "open" });
const at = [url, topic] as const;
await page.evaluate(([url, topic]) => collections.write(url, topic, "b", "paid"), at);
for (const page of opened) await shows(page, { a: "paid", b: "paid" });
await ask("stop bridge");
await ask("write c new");
await ask("start bridge");
for (const page of opened) await shows(page, { a: "paid", b: "paid", c: "new" });
await page.evaluate(([url, topic]) => collections.remove(url, topic, "a"), at);
for (const page of opened) {
  await shows(page, { b: "paid", c: "new" });
  const changed = await page.evaluate(() => collections.changed());
  assert.deepEqual(changed, ["insert b", "delete c", "update b", "insert c", "delete a"]);
}
assert.deepEqual(errors, []);
await browser.close();
end();
