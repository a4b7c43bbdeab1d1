// The client says why it is not connected, and writes nothing for a wrong call: `refused.ts GATEWAY TOPIC`.

import assert from "node:assert/strict";

import { emptyPage, launch } from "./browser.ts";
import { bundle } from "./bundle.ts";
import type * as pages from "./pages/client.ts";
import { args, ask, end } from "./script.ts";

declare const client: typeof pages;

const [gateway = "", topic = ""] = args;
const browser = await launch();
const page = await emptyPage(browser, gateway);
await page.addScriptTag({ content: await bundle("client") });
const url = `ws://${gateway}/pubsub`;
const failure = (url: string) => page.evaluate((url) => client.failure(url), url);

const wrong = `ws://${gateway}/none`;
assert.equal(
  await failure(`${wrong}?token=secret`),
  `the WebSocket was not opened: ${wrong} answers a plain request with 404: there is no such route`,
);
await ask("kill envoy");
assert.equal(
  await failure(url),
  `neither a WebSocket nor a plain request got an answer from ${url} that the origin http://${gateway} may read: ` +
    "check the address, TLS, the login, and whether the gateway allows the origin",
);
await ask("start envoy");

const written = await page.evaluate(([url, topic]) => client.wrongWrites(url, topic), [url, topic] as const);
assert.deepEqual(written, { errors: ["TypeError", "TypeError", "TypeError", "TypeError", "TypeError"], records: 0, right: 0 });
await browser.close();
end();
