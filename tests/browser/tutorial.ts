// The tutorial's pages work as they are shown, served from another origin than the gateway's: `tutorial.ts GATEWAY`.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

import { launch } from "./browser.ts";
import { args, end, until } from "./script.ts";

const [gateway = ""] = args;
const root = new URL("../../", import.meta.url);
const tutorial = readFileSync(new URL("docs/tutorials/live-page.md", root), "utf8");
const [list = "", state = ""] = [...tutorial.matchAll(/```html\n(.*?)```/gs)].map(([, html]) => html);
const client = readFileSync(new URL("clients/typescript/dist/sluicegate.min.js", root));

let shown = "";
const server = createServer((request, response) => {
  const isClient = request.url === "/sluicegate.min.js";
  response.setHeader("content-type", isClient ? "text/javascript" : "text/html");
  response.end(isClient ? client : shown.replace("127.0.0.1:8080", gateway));
});
await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;

const browser = await launch();
const page = await browser.newPage();
const errors: Error[] = [];
page.on("pageerror", (error) => errors.push(error));
let body = "";
const shows = (text: RegExp) => until(() => `${body} has ${text}`, async () => text.test((body = await page.innerText("body"))));

shown = list;
await page.goto(url);
await shows(/north: \d+ cm\n/);

shown = state;
await page.goto(url);
await shows(/Connection: open/);
for (const gate of ["north", "middle", "southern"]) await shows(new RegExp(`${gate}: \\d+ cm, \\d`));
await page.locator("input").fill("123");
await page.locator("form button").click();
await shows(/mine: 123 cm,/);
await shows(/Kafka has it, at offset \d+ of partition \d\./);
const again = page.waitForEvent("websocket");
await page.locator("#cut").click();
await again;
await shows(/Connection: open/);
const [, offset, partition = ""] = /offset (\d+) of partition (\d)/.exec(await page.innerText("output")) ?? [];
/** The stored position, once it is behind an offset. */
const position = (offset: number) =>
  until(() => `a position behind ${offset}`, async () => {
    const stored = await page.evaluate(() => localStorage.getItem("gates"));
    const position = stored === null ? 0 : JSON.parse(stored).demo.next[partition];
    return position > offset && position;
  });
const stored = await position(Number(offset));
await page.reload();
await position(stored);
assert.doesNotMatch(await page.innerText("body"), /mine/, "records that were seen do not come again");
assert.deepEqual(errors, []);
await browser.close();
server.close();
end();
