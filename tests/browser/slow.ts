// A slow loop gets each of 100,000 records in order, and no more than its credit and one record: `slow.ts GATEWAY TOPIC RECORDS`.

import assert from "node:assert/strict";

import { launch } from "./browser.ts";
import { open } from "./bundle.ts";
import type * as pages from "./pages/client.ts";
import { args, end } from "./script.ts";

declare const client: typeof pages;

const [gateway = "", topic = "", records] = args;
const browser = await launch();
const page = await browser.newPage();
await open(page, gateway, "client");
const url = `ws://${gateway}/pubsub`;
const { next, wrong, delivered, excess, largest } = await page.evaluate(
  ([url, topic, records]) => client.slowLoop(url, topic, records),
  [url, topic, Number(records)] as const,
);
assert.deepEqual({ next, wrong }, { next: Number(records), wrong: undefined });
assert(delivered > 1e7 && largest > 0, `${delivered} bytes`);
assert(excess <= largest, `${excess} bytes beyond the credit, and the largest record has ${largest}`);
await browser.close();
end();
