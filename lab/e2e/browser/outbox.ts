// An outbox loses and repeats nothing while its page is reloaded, offline, open twice, and its bridge is killed:
// `outbox.ts GATEWAY TOPIC`.

import assert from "node:assert/strict";
import { setTimeout } from "node:timers/promises";

import { fromBinary } from "@bufbuild/protobuf";
import type { Page, WebSocketRoute } from "playwright-core";

import { PubSubRespSchema } from "../../../clients/typescript/src/generated/pubsub_pb.ts";

import { launch } from "./browser.ts";
import { bundle } from "./bundle.ts";
import type * as pages from "./pages/outbox.ts";
import { args, ask, end, until } from "./script.ts";

declare const outbox: typeof pages;

const COUNT = 1000;
const KEYS = 7;

const [gateway = "", topic = ""] = args;
const script = await bundle("outbox");
const browser = await launch();
const context = await browser.newContext();
let isOnline = true;
/** Whether the answers of writes are lost, and how many were. */
let isLost = false;
let lost = 0;
const sockets = new Set<WebSocketRoute>();
await context.routeWebSocket(/pubsub/, (socket) => {
  if (!isOnline) return socket.close();
  sockets.add(socket);
  socket.connectToServer().onMessage((message) => {
    const { resp } = fromBinary(PubSubRespSchema, message as Buffer);
    const isWritten = resp.case === "kafkaProduceResp" && resp.value.results.some(({ offset }) => offset >= 0);
    if (isLost && isWritten) lost++;
    else socket.send(message);
  });
});

/** Opens the outbox in a tab, anew if it is a reload. */
async function open(page: Page): Promise<Page> {
  await page.goto(`http://${gateway}/none`);
  await page.addScriptTag({ content: script });
  await page.evaluate(([url = "", topic = ""]) => outbox.open(url, topic), [`ws://${gateway}/pubsub`, topic]);
  return page;
}

const waiting = (page: Page) => page.evaluate(() => outbox.state().waiting);
const tabs = [await open(await context.newPage()), await open(await context.newPage())] as [Page, Page];
const incidents = [
  async () => {
    await ask("kill bridge");
    await ask("start bridge");
  },
  // Offline until the next one.
  async () => {
    isOnline = false;
  },
  () => open(tabs[0]),
  () => open(tabs[1]),
  async () => {
    await tabs[0].close();
    tabs[0] = await open(await context.newPage());
  },
];
const rounds = 2 * incidents.length;

for (let round = 0; round < rounds; round++) {
  const [from, to] = [round, round + 1].map((part) => (part * COUNT) / rounds);
  // Each tab in turn: one of them sends.
  const put = tabs[round % 2]!.evaluate(([from = 0, to = 0]) => outbox.put(from, to), [from, to] as number[]);
  await setTimeout(100);
  isOnline = true;
  // Records that are written from now on are not known to be.
  isLost = true;
  const before = lost;
  await put;
  await until(
    () => "an answer that is lost",
    async () => lost > before,
  );
  await incidents[round % incidents.length]!();
  for (const socket of sockets) await socket.close().catch(() => {});
  sockets.clear();
  isLost = false;
}
// Whoever has sent is gone.
await tabs[0]!.close();
const [, last] = tabs;
await until(
  () => "all records are written",
  async () => (await waiting(last!)) === 0,
  90_000,
);
assert.equal(await last.evaluate(() => outbox.state().refused), 0);
const expected = Array.from({ length: KEYS }, (_, key) => [
  `key ${key}`,
  Array.from({ length: COUNT }, (_, number) => number).filter((number) => number % KEYS === key),
]);
const written = await last.evaluate((topic) => outbox.written(topic), topic);
assert.deepEqual(written, Object.fromEntries(expected));
await browser.close();
end();
