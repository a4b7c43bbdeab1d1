// Each example shows each record that is written while it is open: `examples.ts GATEWAY`.

import assert from "node:assert/strict";

import { launch } from "./browser.ts";
import { args, ask, end, until } from "./script.ts";

const [gateway] = args;
const browser = await launch();
const context = await browser.newContext();
for (const example of ["eventsource.html", "json-session.html", "client.html"]) {
  const page = await context.newPage();
  const errors: Error[] = [];
  page.on("pageerror", (error) => errors.push(error));
  await page.goto(`http://${gateway}/${example}`);
  // It shows what is written from now on, and nobody knows when that is.
  const lines = async () => (await page.innerText("#records")).trim().split("\n").filter(Boolean);
  await until(
    () => `${example} shows nothing`,
    async () => {
      await ask("write");
      return (await lines()).length >= 2;
    },
  );
  if (example === "json-session.html") {
    await ask("kill bridge");
    await ask("write");
    await ask("start bridge");
  }
  const written = JSON.parse(await ask("write"));
  const shown = await until(
    () => `${example} does not show ${written}`,
    async () => {
      const shown = await lines();
      return shown.some((line) => line.startsWith(`0:${written} `)) && shown;
    },
  );
  const offsets = shown.map((line) => Number(line.split(/[: ]/)[1])).reverse();
  const first = offsets[0] ?? 0;
  assert.deepEqual(
    offsets,
    Array.from(offsets, (_, index) => first + index),
    example,
  );
  assert.match(shown[0] ?? "", /\{"gate":"mine"\}$/, example);
  assert.deepEqual(errors, [], example);
  await page.close();
}
await browser.close();
end();
