// Prints records from the oldest on, with npm's `event-source-polyfill`: node event-source-polyfill.mjs [URL]
import { EventSourcePolyfill } from "event-source-polyfill";

const url = process.argv[2] ?? "http://127.0.0.1:8080/kafka/topics/demo/events?from=earliest";

function open(last) {
  const at = new URL(url);
  if (last) at.searchParams.set("last_event_id", last);
  const events = new EventSourcePolyfill(`${at}`, { headers: { "x-example": "such as Authorization" } });
  events.onmessage = ({ data, lastEventId }) => {
    const { partition, offset, value } = JSON.parse(data);
    console.log(partition, offset, JSON.stringify(value));
    last = lastEventId;
  };
  // It reconnects by itself, except after an answer that is no stream, such as 503 while no bridge is there. After 204 the stream
  // has ended for good, and after 4xx, except 429, the request is wrong.
  events.addEventListener("error", ({ data, status }) => {
    if (data) console.error(JSON.parse(data).detail);
    if (events.readyState !== EventSourcePolyfill.CLOSED) return;
    const isOver = status === 204 || (status >= 400 && status < 500 && status !== 429);
    if (!isOver) setTimeout(open, 2000, last);
  });
}
open();
