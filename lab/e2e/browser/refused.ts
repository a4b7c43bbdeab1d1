// The client says why it is not connected, notices a network that is gone, and writes nothing for a wrong call:
// `refused.ts GATEWAY TOPIC`.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { type AddressInfo, connect, createServer as createRelay, type Socket } from "node:net";

import { emptyPage, launch } from "./browser.ts";
import { bundle } from "./bundle.ts";
import type * as pages from "./pages/client.ts";
import { args, ask, end } from "./script.ts";

declare const client: typeof pages;

const [gateway = "", topic = ""] = args;
const browser = await launch();
const content = await bundle("client");
const page = await emptyPage(browser, gateway);
await page.addScriptTag({ content });
const url = `ws://${gateway}/pubsub`;
const failure = (url: string, from = page) => from.evaluate((url) => client.failure(url), url);

const wrong = `ws://${gateway}/none`;
assert.equal(
  await failure(`${wrong}?token=secret`),
  `the WebSocket was not opened: ${wrong} answers a plain request with 404: there is no pubsub route of Sluicegate`,
);
await ask("kill envoy");
assert.equal(await failure(url), `nothing answers at ${gateway}: the gateway may be stopped, or host or port wrong`);
await ask("start envoy");

const server = createServer((_, response) => response.end());
await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
const elsewhere = await emptyPage(browser, `127.0.0.1:${(server.address() as AddressInfo).port}`);
await elsewhere.addScriptTag({ content });
assert.equal(
  await failure(`wss://${gateway}/pubsub`, elsewhere),
  `the WebSocket was not opened: expected ${url}, because ${gateway} answers without TLS`,
);
assert.match(await failure(wrong, elsewhere), /does not let the origin .* read its answer/);
await ask("kill bridge");
assert.equal(
  await failure(url, elsewhere),
  `the WebSocket was not opened: ${url} answers a plain request with 426: address and origin are right; the bridge may be down, ` +
    "its route missing, the login or a subprotocol not accepted, or a proxy stops WebSockets",
  "CORS lets a page of another origin read it",
);
await ask("start bridge");
await elsewhere.close();
server.close();

// The gateway has this address, too. It closes no connection: it stops forwarding.
const port = Number(gateway.split(":")[1]);
const relayed: Socket[] = [];
const relay = createRelay((socket) => {
  const onward = connect(port, "127.0.0.1");
  relayed.push(socket, onward);
  socket.pipe(onward).pipe(socket);
  for (const end of [socket, onward]) end.on("error", () => {});
});
await new Promise<void>((resolve) => relay.listen(port, "::1", resolve));
const moved = await emptyPage(browser, `[::1]:${port}`);
await moved.addScriptTag({ content });
await moved.evaluate(([url, topic]) => client.openAll(url, topic, 1), [`ws://[::1]:${port}/pubsub`, topic] as const);
for (const how of ["online", "retryNow"] as const) {
  for (const socket of relayed) socket.unpipe();
  const took = await moved.evaluate((how) => client.comeBack(how), how);
  assert(took > 1000 && took < 3000, `connected after ${took} ms by ${how}`);
}
await moved.close();
for (const socket of relayed) socket.destroy();
relay.close();

const written = await page.evaluate(([url, topic]) => client.wrongWrites(url, topic), [url, topic] as const);
assert.deepEqual(written, {
  errors: ["TypeError", "TypeError", "TypeError", "TypeError", "TypeError"],
  records: 0,
  right: 0,
});
await browser.close();
end();
