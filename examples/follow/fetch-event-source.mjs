// Prints records from the oldest on, with npm's `@microsoft/fetch-event-source`: node fetch-event-source.mjs [URL]
import { fetchEventSource } from "@microsoft/fetch-event-source";

const url = process.argv[2] ?? "http://127.0.0.1:8080/kafka/topics/demo/events?from=earliest";
// Outside of browsers.
globalThis.window ??= globalThis;
globalThis.document ??= new EventTarget();

class Over extends Error {}

await fetchEventSource(url, {
  headers: { "x-example": "such as Authorization" },
  // Otherwise a hidden page has no stream.
  openWhenHidden: true,
  async onopen(response) {
    // 204: the stream has ended for good. 4xx, except 429: the request is wrong.
    const { status } = response;
    const isOver = status === 204 || (status >= 400 && status < 500 && status !== 429);
    if (isOver) throw new Over(await response.text());
    if (!response.ok) throw new Error(`the answer is ${status}`);
  },
  onmessage({ event, data }) {
    if (event === "error") console.error(JSON.parse(data).detail);
    if (event) return;
    const { partition, offset, value } = JSON.parse(data);
    console.log(partition, offset, JSON.stringify(value));
  },
  // Without this, a stream that the bridge ends as it shuts down is taken for the end of all.
  onclose() {
    throw new Error("the stream has ended");
  },
  onerror(problem) {
    if (problem instanceof Over) throw problem;
    console.error("again:", problem.message);
  },
});
