// Prints records from the oldest on, with npm's `eventsource`: node eventsource.mjs [URL]
import { EventSource } from "eventsource";

const url = process.argv[2] ?? "http://127.0.0.1:8080/kafka/topics/demo/events?from=earliest";

let again;
function open(last) {
  clearTimeout(again);
  const at = new URL(url);
  if (last) at.searchParams.set("last_event_id", last);
  const events = new EventSource(at);
  events.onmessage = ({ data, lastEventId }) => {
    const { partition, offset, value } = JSON.parse(data);
    console.log(partition, offset, JSON.stringify(value));
    last = lastEventId;
  };
  // It reconnects by itself, except after an answer that is no stream, such as 503 while no bridge is there. After 204 the stream
  // has ended for good, and after 4xx, except 429, the request is wrong.
  events.addEventListener("error", ({ data, code, message }) => {
    if (data) console.error(JSON.parse(data).detail);
    if (events.readyState !== EventSource.CLOSED) return;
    console.error("again:", message);
    const isOver = code === 204 || (code >= 400 && code < 500 && code !== 429);
    if (!isOver) again = setTimeout(open, 2000, last);
  });
}
open();
