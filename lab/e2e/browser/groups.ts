// A page shares a topic of two partitions with the command line, which joins its group and leaves it:
// `groups.ts GATEWAY TOPIC`.

import assert from "node:assert/strict";

import { emptyPage, launch } from "./browser.ts";
import { bundle } from "./bundle.ts";
import type * as pages from "./pages/groups.ts";
import { args, ask, end, until } from "./script.ts";

const [gateway = "", topic = ""] = args;
const browser = await launch();
const page = await emptyPage(browser, gateway);
await page.addScriptTag({ content: await bundle("groups") });
await page.evaluate(`void groups.join("ws://${gateway}/pubsub", "${topic}")`);
const seen = () => page.evaluate<typeof pages.seen>("groups.seen");
const shares = (count: number) =>
  until(
    () => `${count} partitions`,
    async () => {
      const { share } = await seen();
      return share.length === count && share;
    },
  );
const takes = (count: number) =>
  until(
    () => `${count} records`,
    async () => (await seen()).committed.length >= count,
  );

await shares(2);
await ask("write");
await takes(20);
await ask("join");
await shares(1);
await ask("write");
await takes(30);
const printed = (await ask("leave")).split(",");
const share = await shares(2);
assert.deepEqual(
  share.map(({ offset }) => offset),
  [20, 20],
);
const { committed, failed } = await seen();
assert.deepEqual(failed, []);
const all = [0, 1].flatMap((partition) => Array.from({ length: 20 }, (_, offset) => `${partition} ${offset}`));
assert.deepEqual([...committed, ...printed].sort(), all.sort());
assert.equal(printed.length, 10);
await browser.close();
end();
