// The live page shows values in Avro as JSON, with their schema: `schemas.ts GATEWAY SCREENSHOTS`.

import assert from "node:assert/strict";
import { join } from "node:path";

import { launch } from "./browser.ts";
import { args, end, until } from "./script.ts";

const [gateway = "", screenshots = ""] = args;
const browser = await launch();
const page = await browser.newPage({ viewport: { width: 1280, height: 960 } });
const errors: Error[] = [];
page.on("pageerror", (error) => errors.push(error));
const shows = async (selector: string, text: RegExp) => {
  let shown = "";
  const matches = async () => {
    shown = await page.innerText(selector);
    return text.test(shown);
  };
  await until(() => `${selector} shows ${shown}, not ${text}`, matches);
};

await page.goto(`http://${gateway}/?topic=orders&from=earliest`);
const order = /"status":"open","amount":"\d\d\.\d\d","changed_at":"[^"]+Z","note":null\} · AVRO schema 1/;
await shows("#records", order);
// The form has a record as an example, and writes with its schema. A key makes it one of the newest values.
await page.fill("#key", "by hand");
await page.fill("#value", (await page.inputValue("#value")).replace(/"note":[^}]*/, '"note":"by hand"'));
await page.click("#produce button");
await shows("#produced", /^Written to partition/);
await shows("#records", /"note":"by hand"\} · AVRO schema 1/);
await page.locator("#newest summary").click();
await shows("#newest-state", /^\d+ keys?\.$/);
await shows("#newest tbody", /· AVRO schema 1/);
await page.screenshot({ path: join(screenshots, "schemas.png"), fullPage: true });
assert.deepEqual(errors, []);
await browser.close();
end();
