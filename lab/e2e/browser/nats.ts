// The page of a NATS stream shows messages, and publishes one: `nats.ts GATEWAY`.

import assert from "node:assert/strict";

import { launch } from "./browser.ts";
import { args, end, until } from "./script.ts";

const [gateway = ""] = args;
const browser = await launch();
const page = await browser.newPage();
const errors: Error[] = [];
page.on("pageerror", (error) => errors.push(error));
let body = "";
const shows = (text: RegExp) =>
  until(
    () => `${body} has ${text}`,
    async () => {
      body = await page.innerText("body");
      return text.test(body);
    },
  );

await page.goto(`http://${gateway}/`);
await shows(/Connection: open/);
await shows(/\d+ demo\.north \{"gate":"north"/);
await page.locator("button").click();
await shows(/demo has it, with sequence \d+\./);
await shows(/\d+ demo\.mine \{"gate":"mine","level_cm":123\}/);
await page.goto(`http://${gateway}/?stream=missing`);
await shows(/stream missing does not exist, create it first/);
assert.deepEqual(errors, []);
await browser.close();
end();
