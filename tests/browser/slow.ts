// A slow loop in a worker gets each of many records in order, and no more than its credit and one record: `slow.ts GATEWAY TOPIC RECORDS`.

import assert from "node:assert/strict";

import { emptyPage, launch } from "./browser.ts";
import { bundle } from "./bundle.ts";
import type * as pages from "./pages/client.ts";
import { args, end } from "./script.ts";

const [gateway = "", topic, records] = args;
const browser = await launch();
const page = await emptyPage(browser, gateway);
const call = `client.slowLoop("ws://${gateway}/pubsub", "${topic}", ${records}).then(postMessage, (error) => postMessage({ error }))`;
const script = `${await bundle("client")}\n${call};`;
type Result = Awaited<ReturnType<typeof pages.slowLoop>> & { error?: unknown };
const { next, wrong, delivered, excess, largest, error } = await page.evaluate((script) => {
  const worker = new Worker(URL.createObjectURL(new Blob([script])));
  return new Promise<Result>((resolve, reject) => {
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = ({ message }) => reject(new Error(message));
  });
}, script);
assert.equal(error, undefined);
assert.deepEqual({ next, wrong }, { next: Number(records), wrong: undefined });
assert(delivered > 1e7 && largest > 0, `${delivered} bytes`);
assert(excess <= largest, `${excess} bytes beyond the credit, and the largest record has ${largest}`);
await browser.close();
end();
