// The tutorial's pages work as they are shown, served from another origin than the gateway's, whatever else is in the
// topic: `tutorial.ts GATEWAY PORT`.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";

import { connect } from "sluicegate";

import { launch } from "./browser.ts";
import { args, end, until } from "./script.ts";

const [gateway = "", port = ""] = args;
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
await new Promise<void>((resolve) => server.listen(Number(port), "127.0.0.1", resolve));
const url = `http://127.0.0.1:${port}/`;

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

const writer = connect(`ws://${gateway}/pubsub`);
/** Writes what is not a reading to each partition. */
const odd = async () => {
  const values = [null, "v1", "null", "5", [], new Uint8Array([0xff])];
  const partitions = (await writer.topics("demo")).flatMap(({ partitions }) => partitions);
  await writer.produce(
    "demo",
    partitions.flatMap((partition) => values.map((value) => ({ partition, value }))),
  );
};

await odd();
shown = list;
await page.goto(url);
await shows(/north: \d+ cm\n/);
await odd();
await writer.produce("demo", { value: { gate: "behind", level_cm: 7 } });
await shows(/behind: 7 cm\n/);

shown = state;
await page.goto(url);
await shows(/Connection: open/);
for (const gate of ["north", "middle", "southern"]) await shows(new RegExp(`${gate}: \\d+ cm at`));
await page.locator("input").fill("123");
await page.locator("form button").click();
await shows(/mine: 123 cm at/);
await shows(/Kafka has it, at offset \d+ of partition \d\./);
const again = page.waitForEvent("websocket");
await page.locator("#cut").click();
await again;
await shows(/Connection: open/);

await page.reload();
await shows(/mine: 123 cm at/);
for (const gate of ["north", "middle", "southern"]) await shows(new RegExp(`${gate}: \\d+ cm at`));
await odd();
const latest = await writer.produce("demo", { value: { gate: "last", level_cm: 1 } });
await shows(new RegExp(`last: 1 cm at offset ${latest.offset}`));

/** The offsets of five records of a page that keeps its positions. */
const take = () =>
  page.evaluate(async (gateway) => {
    const { connect, positionsIn }: typeof import("sluicegate") = await import(`${location.origin}/sluicegate.min.js`);
    const gate = connect(gateway);
    const positions = positionsIn(localStorage, "gates");
    const offsets = [];
    for await (const { offset } of gate.subscribe("demo", { from: "earliest", partitions: [0], positions })) {
      if (offsets.push(offset) === 5) break;
    }
    gate.close();
    return offsets;
  }, `ws://${gateway}/pubsub`);
assert.deepEqual(await take(), [0, 1, 2, 3, 4]);
await page.reload();
assert.deepEqual(await take(), [4, 5, 6, 7, 8], "the record at which the loop ended comes again");
assert.deepEqual(errors, []);
writer.close();
await browser.close();
server.close();
end();
