// Clients that are disconnected together come back at random times, and get each record once: `storm.ts GATEWAY TOPIC`.

import assert from "node:assert/strict";

import { emptyPage, launch } from "./browser.ts";
import { bundle } from "./bundle.ts";
import type * as pages from "./pages/client.ts";
import { args, ask, end, until } from "./script.ts";

declare const client: typeof pages;

const CLIENTS = 100;
/** The range of the first pause, and the largest one. Milliseconds. */
const FIRST = 500;
const LONGEST = 20_000;

const [gateway = "", topic = ""] = args;
const browser = await launch();
const page = await emptyPage(browser, gateway);
await page.addScriptTag({ content: await bundle("client") });
const url = `ws://${gateway}/pubsub`;
await page.evaluate(([url, topic, count]) => client.openAll(url, topic, count), [url, topic, CLIENTS] as const);
await ask("write before");
const have = (count: number) => async () => {
  const values = await page.evaluate(() => client.values());
  return values.every(({ length }) => length >= count) && values;
};
await until(() => "the record before the storm", have(1));

await ask("kill envoy");
await until(
  () => "two attempts of each client",
  async () => {
    const pauses = await page.evaluate(() => client.pauses());
    return pauses.every(({ length }) => length >= 2);
  },
  60_000,
);
await ask("write while it is away");
await ask("start envoy");
await until(
  () => "all clients are back",
  async () => {
    const states = await page.evaluate(() => client.states());
    return states.every((state) => state === "open");
  },
  60_000,
);
await ask("write after");
const values = await until(() => "the record after the storm", have(3));
for (const got of values) assert.deepEqual(got, ["before", "while it is away", "after"]);

// Each pause is a random part of its range, which doubles with each failure.
const pauses = await page.evaluate(() => client.pauses());
const range = (failures: number) => Math.min(LONGEST, FIRST * 2 ** failures);
const first = pauses.map(([pause]) => (pause?.announced ?? Number.NaN) / FIRST);
const all = pauses.flatMap((pauses) => pauses.map(({ announced }, failures) => announced / range(failures)));
// Timers have whole milliseconds.
for (const { announced, waited } of pauses.flat())
  assert(waited > announced - 2, `${waited} ms instead of ${announced}`);
for (const parts of [first, all]) {
  assert(parts.length >= CLIENTS && parts.every((part) => part >= 0 && part < 1), `${parts}`);
  for (let tenth = 0; tenth < 10; tenth++) {
    // Of 100, 10 are expected in each tenth, with a standard deviation of 3.
    const share = parts.filter((part) => Math.floor(part * 10) === tenth).length / parts.length;
    assert(share > 0 && share < 0.3, `${share} of ${parts.length} pauses are in tenth ${tenth} of their range`);
  }
}
await browser.close();
end();
