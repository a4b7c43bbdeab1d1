// The CPU of a browser whose page loops over records, and of the page's main thread: `consume.ts CLIENT ADDRESS TOPIC`,
// where CLIENT is `sluicegate` or `nats`.

import { emptyPage, launch } from "./browser.ts";
import { bundle } from "./bundle.ts";
import { args, ask, end, until } from "./script.ts";

const [client, address = "", topic] = args;
const browser = await launch();
const page = await emptyPage(browser, address);
await page.addScriptTag({ content: await bundle("consume") });
await page.evaluate(`consume.${client}(${JSON.stringify(address)}, ${JSON.stringify(topic)})`);
const [ofBrowser, ofPage] = [await browser.newBrowserCDPSession(), await page.context().newCDPSession(page)];
await ofPage.send("Performance.enable", { timeDomain: "threadTicks" });

/** Seconds of CPU of all of the browser's processes, and of the page's main thread. */
const cpu = async () => {
  const { processInfo } = await ofBrowser.send("SystemInfo.getProcessInfo");
  const { metrics } = await ofPage.send("Performance.getMetrics");
  const thread = metrics.find(({ name }) => name === "TaskDuration")?.value ?? Number.NaN;
  return [processInfo.reduce((sum, { cpuTime }) => sum + cpuTime, 0), thread] as const;
};
const records = () => page.evaluate<number>("consume.seen.records");
/** Publishes, and waits until the page has all. */
const publish = async (request: string) => {
  const all = (await records()) + Number(await ask(request));
  await until(
    () => `not all of ${all} records`,
    async () => (await records()) >= all,
  );
};

// Code is compiled while it runs.
await publish("warm up");
const [before, threadBefore] = await cpu();
await publish("publish");
const [after, threadAfter] = await cpu();
await ask(`used ${after - before} ${threadAfter - threadBefore}`);
await browser.close();
end();
