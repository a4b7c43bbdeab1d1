// Subscribes to a topic, and gives each record to the parts of the page.

import { connect, GateError, type SubscriptionEvent } from "sluicegate/tables";
import { Charts } from "./charts.ts";
import { Continuity } from "./continuity.ts";
import { throttled } from "./frame.ts";
import { NewestView } from "./newest.ts";
import { PauseButton } from "./pause.ts";
import { ProduceForm } from "./produce.ts";
import { RecordTable } from "./records.ts";
import { Seconds } from "./seconds.ts";
import { StatusView } from "./status.ts";

const query = new URLSearchParams(location.search);
const topic = query.get("topic") || "demo";
const from = query.get("from") === "earliest" ? "earliest" : "latest";
const address = new URL("/pubsub", location.href.replace(/^http/, "ws")).href;
for (const element of document.querySelectorAll(".topic")) element.textContent = topic;

const gate = connect(address);
const status = new StatusView(gate, address);
const pause = new PauseButton();
const form = new ProduceForm(gate, topic);
const table = new RecordTable();
const newest = new NewestView(gate, topic);
const continuity = new Continuity();
const seconds = new Seconds();
const charts = new Charts();
/** Partitions whose log end was reached. Until then, records are old, and their age is not a latency. */
const live = new Set<number>();

const render = throttled(() => {
  table.render();
  continuity.render();
}, 200);

setInterval(update, 1000);
document.addEventListener("visibilitychange", update);
void receive();

/** Never waits for rendering, so that it works in hidden pages. */
async function receive(): Promise<void> {
  try {
    for await (const record of gate.subscribe(topic, { from, decode: true, onEvent: handle })) {
      if (pause.resumed) await pause.resumed;
      status.readable(record.partition);
      continuity.add(record);
      newest.decode ||= record.valueSchema !== undefined;
      seconds.add(live.has(record.partition) ? Date.now() - record.timestamp.getTime() : undefined);
      table.add(record, form.arrived(record));
      render();
    }
  } catch (error) {
    if (!(error instanceof GateError)) throw error;
    status.subscriptionEnded(error);
  }
}

function handle(event: SubscriptionEvent): void {
  switch (event.type) {
    case "caughtUp":
      live.add(event.partition);
      return status.readable(event.partition);
    case "skipped":
      continuity.skip(event.partition, event.from, event.to);
      return render();
    case "retrying":
      return status.unreadable(event.partition, event.error);
  }
}

/** Updates what depends on the time. */
function update(): void {
  if (document.hidden) return;
  table.updateAges();
  newest.updateAges();
  status.countDown();
  charts.show(seconds.figures());
}
