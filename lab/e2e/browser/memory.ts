// The live page's memory does not grow, at about 1,000 records a second: `memory.ts GATEWAY SECONDS`.

import assert from "node:assert/strict";
import { setTimeout } from "node:timers/promises";

import { launch } from "./browser.ts";
import { args, ask, end } from "./script.ts";

/** Between two figures, in seconds. */
const STEP = 30;
/** Megabytes that the last figures may have more than the early ones. */
const GROWTH = 1;

const [gateway, seconds] = args;
const browser = await launch();
const page = await browser.newPage();
const devtools = await page.context().newCDPSession(page);
await devtools.send("Performance.enable");
await page.goto(`http://${gateway}/`);

const figures = async () => {
  await devtools.send("HeapProfiler.collectGarbage");
  const { usedSize, embedderHeapUsedSize, backingStorageSize } = await devtools.send("Runtime.getHeapUsage");
  const { metrics } = await devtools.send("Performance.getMetrics");
  const nodes = metrics.find(({ name }) => name === "Nodes")?.value ?? Number.NaN;
  const { records, gaps, duplicates } = await page
    .locator("#continuity")
    .evaluate((element) => ({ ...element.dataset }));
  assert.deepEqual([gaps, duplicates], ["0", "0"]);
  return { megabytes: (usedSize + embedderHeapUsedSize + backingStorageSize) / 1e6, nodes, records: Number(records) };
};

await ask("seconds  heap MB  nodes  records");
const heap: number[] = [];
for (let elapsed = STEP; elapsed <= Number(seconds); elapsed += STEP) {
  await setTimeout(STEP * 1000);
  const { megabytes, nodes, records } = await figures();
  heap.push(megabytes);
  const columns = [
    [elapsed, 7],
    [megabytes.toFixed(2), 8],
    [nodes, 6],
    [records, 8],
  ] as const;
  await ask(columns.map(([value, width]) => String(value).padStart(width)).join(" "));
  assert(records > elapsed * 800, `only ${records} records in ${elapsed} s`);
}
// The first figure is from the beginning, when the charts are empty. Rows that have left the table are freed a little
// later.
const [early = Number.NaN, late = Number.NaN] = [heap.slice(1, 4), heap.slice(-3)].map((figures) =>
  Math.min(...figures),
);
assert(late <= early + GROWTH, `the heap has grown from ${early} to ${late} MB`);
await browser.close();
end();
