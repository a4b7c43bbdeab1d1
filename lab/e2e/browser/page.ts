// The live page shows every record once while everything fails in turn: `page.ts GATEWAY SCREENSHOTS`.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import type { AxeResults } from "axe-core";

import { launch } from "./browser.ts";
import { background } from "./pages/background.ts";
import { args, ask, end, until } from "./script.ts";

declare const axe: { run(): Promise<AxeResults> };
declare function setHidden(isHidden: boolean): void;

const [gateway, screenshots = ""] = args;
const browser = await launch();
const page = await browser.newPage({ viewport: { width: 1280, height: 960 } });
const errors: Error[] = [];
page.on("pageerror", (error) => errors.push(error));
page.on("console", (message) => console.error(message.text()));
await page.addInitScript(background);
await page.goto(`http://${gateway}/?from=earliest`);

const shoot = (name: string) => page.screenshot({ path: join(screenshots, `${name}.png`) });
const counts = async () => {
  const attributes = await page.locator("#continuity").evaluate((element) => ({ ...element.dataset }));
  return {
    records: Number(attributes.records),
    gaps: Number(attributes.gaps),
    duplicates: Number(attributes.duplicates),
  };
};
/** Waits for `count` more records. */
const more = async (when: string, count = 20) => {
  const { records } = await counts();
  await until(
    () => `${count} records ${when}`,
    async () => (await counts()).records >= records + count,
    60_000,
  );
};
const says = async (selector: string, text: RegExp) => {
  let said = "";
  const matches = async () => {
    said = await page.locator(selector).innerText();
    return text.test(said);
  };
  await until(() => `${selector} says ${said}, not ${text}`, matches, 60_000);
};

await more("at first", 40);
await says("#rate", /[1-9]\d* per second/);
await page.locator("#newest summary").click();
await says("#newest-state", /^4 keys\.$/);
await shoot("light");
await page.emulateMedia({ colorScheme: "dark" });
await shoot("dark");
for (const colorScheme of ["dark", "light"] as const) {
  await page.emulateMedia({ colorScheme });
  await page.evaluate(readFileSync(fileURLToPath(import.meta.resolve("axe-core")), "utf8"));
  const { violations } = await page.evaluate(() => axe.run());
  assert.deepEqual(
    violations.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)]),
    [],
    colorScheme,
  );
}
await page.setViewportSize({ width: 360, height: 740 });
assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 360);
await shoot("phone");
await page.setViewportSize({ width: 1280, height: 960 });

// With the keyboard alone. Its row can be gone soon.
const own = page.evaluate(
  () =>
    new Promise<string>((resolve) => {
      const observer = new MutationObserver(() => {
        const row = document.querySelector<HTMLElement>("#records tr.own");
        if (!row) return;
        observer.disconnect();
        resolve(`${row.dataset.partition}:${row.dataset.offset} ${row.textContent}`);
      });
      observer.observe(document.body, { subtree: true, childList: true, attributes: true });
    }),
);
await page.locator("#value").fill('{"gate":"mine"}');
await page.keyboard.press("Enter");
await says("#produced", /^Written to partition \d at offset \d+ after .* came back through the subscription after /);
const [, partition, offset] = /partition (\d) at offset (\d+)/.exec(await page.locator("#produced").innerText()) ?? [];
const row = await own;
assert(row.startsWith(`${partition}:${offset} `) && row.includes("mine"), row);
await shoot("written");

const other = await browser.newPage();
await other.goto(`http://${gateway}/`);
const others = async () => Number(await other.locator("#continuity").getAttribute("data-records"));
await until(
  () => "records in another page",
  async () => (await others()) > 0,
);
await page.locator("#pause").press("Space");
const paused = await counts();
const before = await others();
await ask("write 100");
await until(
  () => "100 records in the other page",
  async () => (await others()) >= before + 100,
);
assert((await counts()).records - paused.records <= 1, "a paused loop takes no more records");
await other.close();
await page.locator("#pause").press("Space");
await more("after the pause", 100);

await page.locator("#cut").click();
await says("#reconnects", /^1 reconnect/);
await more("after the cut");

for (const part of ["bridge", "envoy"]) {
  await ask(`kill ${part}`);
  await says("#status", /^(disconnected|waiting|connecting)/);
  if (part === "envoy") {
    await says("#countdown", /next attempt in \d+ s/);
    await shoot("disconnected");
  }
  await ask(`start ${part}`);
  await says("#status", /^open/);
  await more(`after ${part} is back`);
}
await ask("kill kafka");
await says("#failure", /cannot be read at the moment/);
await shoot("without-kafka");
await ask("start kafka");
await more("after Kafka is back");
await until(
  () => "nothing to complain about",
  async () => !(await page.locator("#failure").isVisible()),
  60_000,
);

await page.evaluate(() => setHidden(true));
await more("in the background");
await ask("kill bridge");
await ask("start bridge");
await more("in the background, after an outage");
await page.evaluate(() => setHidden(false));

const written = Number(await ask("stop writing"));
await until(
  () => "all records",
  async () => (await counts()).records >= written,
);
assert.deepEqual(await counts(), { records: written, gaps: 0, duplicates: 0 });
await says("#continuity", /with no gaps and no duplicates$/);
await says("#newest-state", /^4 keys\.$/);
// The newest records have all keys, but a key's latest one can have been pushed out by older ones of another partition, which came
// after it. Both tables are rendered some time after the counts.
let newest: { key: string; timestamp: number; latest: number }[] = [];
await until(
  () => `the latest record of each key, not ${JSON.stringify(newest)}`,
  async () => {
    newest = await page.evaluate(() => {
      const rows = (table: string) =>
        [...document.querySelectorAll<HTMLTableRowElement>(`${table} tbody tr`)].map(({ cells, dataset }) => ({
          key: cells[2]?.innerText ?? "",
          timestamp: Number(dataset.timestamp),
        }));
      return rows("#newest").map(({ key, timestamp }) => {
        const same = rows("#records").filter((row) => row.key === key);
        return { key, timestamp, latest: Math.max(...same.map((row) => row.timestamp)) };
      });
    });
    return newest.length === 4 && newest.every(({ timestamp, latest }) => timestamp >= latest);
  },
);
assert.deepEqual(errors, []);
await browser.close();
end();
