// The tutorial's pages work as they are shown, served from another origin than the gateway's, whatever else is in the
// topic: `tutorial.ts GATEWAY PORT`.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";

import { connect } from "sluicegate";

import { launch } from "./browser.ts";
import { stored } from "./pages/stored.ts";
import { args, end, until } from "./script.ts";

const [gateway = "", port = ""] = args;
const root = new URL("../../../", import.meta.url);
const tutorial = readFileSync(new URL("docs/tutorials/live-page.md", root), "utf8");
const [list = "", state = ""] = [...tutorial.matchAll(/```html\n(.*?)```/gs)].map(([, html]) => html);
const dist = new URL("clients/typescript/dist/", root);

let shown = "";
const server = createServer((request, response) => {
  const client = /^\/(sluicegate(-tables)?\.min\.js)$/.exec(request.url ?? "")?.[1];
  response.setHeader("content-type", client ? "text/javascript" : "text/html");
  response.end(client ? readFileSync(new URL(client, dist)) : shown.replace("127.0.0.1:8080", gateway));
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
  const records = partitions.flatMap((partition) => values.map((value) => ({ partition, value })));
  await writer.produce("demo", [...records, ...values.map((value, index) => ({ key: `odd ${index}`, value }))]);
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
await shows(/Connection: open.*Table: current/s);
const gates = ["north", "middle", "southern"];
for (const gate of gates) await shows(new RegExp(`${gate}: \\d+ cm\n`));
await page.locator("input").fill("123");
await page.locator("#write button").first().click();
await shows(/mine: 123 cm\n/);
await shows(/Kafka has it, at offset \d+ of partition \d\./);
assert.equal(await page.locator("li").count(), 4, "other values are no gates");
const again = page.waitForEvent("websocket");
await page.locator("#cut").click();
await again;
await shows(/Connection: open.*Table: current/s);

/** Reloads the page. Without `connection`, it shows what it has stored. */
const reload = async (connection: boolean) => {
  await page.routeWebSocket(/pubsub/, (socket) => (connection ? socket.connectToServer() : socket.close()));
  await page.reload();
};
await until(
  () => "the key in the store",
  async () => (await page.evaluate(stored)).includes("mine"),
);
await reload(false);
await shows(/Connection: waiting.*Table: stale/s);
await shows(/mine: 123 cm\n/);
for (const gate of gates) await shows(new RegExp(`${gate}: \\d+ cm\n`));
await odd();
await writer.produce("demo", { key: "mine", value: { gate: "mine", level_cm: 1 } });
await writer.produce("demo", { key: "last", value: { gate: "last", level_cm: 2 } });
await reload(true);
await shows(/Table: current/);
await shows(/last: 2 cm\n.*mine: 1 cm\n/s);
await page.locator("#remove").click();
await until(
  () => `the removed gate is in ${body}`,
  async () => {
    body = await page.innerText("body");
    return body.includes("last: 2 cm") && !body.includes("mine: ");
  },
);

/** The offsets of five records of a page that keeps its positions. */
const take = () =>
  page.evaluate(async (gateway) => {
    const { connect, positionsIn }: typeof import("sluicegate") = await import(`${location.origin}/sluicegate.min.js`);
    const gate = connect(gateway);
    const positions = positionsIn(() => localStorage, "gates");
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
