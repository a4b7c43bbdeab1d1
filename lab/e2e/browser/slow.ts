// A slow loop in a worker gets each of many records in order while its connection is cut, and no more than its credit
// and one record: `slow.ts GATEWAY TOPIC RECORDS`.

import assert from "node:assert/strict";

import { emptyPage, launch } from "./browser.ts";
import { bundle } from "./bundle.ts";
import type * as pages from "./pages/client.ts";
import { args, end } from "./script.ts";

const WINDOW = 100_000;

const [gateway = "", topic, records] = args;
const browser = await launch();
const page = await emptyPage(browser, gateway);
const call = `client.slowLoop("ws://${gateway}/pubsub", "${topic}", ${records}, ${WINDOW}).then(postMessage, (error) => postMessage({ error }))`;
const script = `${await bundle("client")}\n${call};`;
type Result = Awaited<ReturnType<typeof pages.slowLoop>> & { error?: unknown };
const { next, wrong, mostWaiting, withoutCredit, largest, error } = await page.evaluate((script) => {
  const worker = new Worker(URL.createObjectURL(new Blob([script])));
  return new Promise<Result>((resolve, reject) => {
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = ({ message }) => reject(new Error(message));
  });
}, script);
assert.equal(error, undefined);
assert.deepEqual({ next, wrong }, { next: Number(records), wrong: undefined });
assert(mostWaiting > WINDOW / 2, `${mostWaiting} bytes have waited: the loop was not slow`);
assert(withoutCredit <= largest, `${withoutCredit} bytes without credit, and the largest message has ${largest}`);
assert(mostWaiting <= WINDOW + largest, `${mostWaiting} bytes have waited, more than ${WINDOW} and ${largest}`);
await browser.close();
end();
