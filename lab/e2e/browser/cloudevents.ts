// CloudEvents' own SDK for JavaScript, as a judge, with the arguments and lines of `lab/e2e/cloudevents/judge.py`.

import { createInterface } from "node:readline";
import { CloudEvent, HTTP, Kafka, type KafkaMessage } from "cloudevents";

type Headers = Record<string, string | null>;
type Message = { binding: "http" | "kafka"; headers: Headers; key: string | null; body: string };
type Event = CloudEvent<unknown>;

const BATCH = "application/cloudevents-batch+json";
const [, , command, key = ""] = process.argv;

if (command === "write") {
  const all = events();
  for (const event of all) {
    for (const { headers, body } of [HTTP.binary(event), HTTP.structured(event)])
      print("http", headers, null, body, [event]);
    for (const write of [Kafka.binary, Kafka.structured]) {
      const { headers, key, value } = write(event) as KafkaMessage<unknown>;
      print("kafka", headers, String(key), value, [event]);
    }
  }
  // The SDK has no function for batches.
  print("http", { "content-type": BATCH }, null, JSON.stringify(all), all);
} else {
  for await (const line of createInterface(process.stdin)) {
    console.log(JSON.stringify(read(JSON.parse(line)).map(canonical)));
  }
}

function print(binding: string, headers: object, key: string | null, body: unknown, events: Event[]): void {
  const encoded = body instanceof Uint8Array ? Buffer.from(body) : Buffer.from(text(body));
  console.log(
    JSON.stringify({
      binding,
      headers: unset(headers),
      key,
      body: encoded.toString("base64"),
      events: events.map(canonical),
    }),
  );
}

function text(body: unknown): string {
  return typeof body === "string" ? body : JSON.stringify(body);
}

/** The SDK has headers without a value, which clients of Kafka write as null. */
function unset(headers: object): Headers {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, value ?? null]));
}

function events(): Event[] {
  const contents = [
    { datacontenttype: "application/json", data: { a: [1, null, "ä"] }, subject: "orders/7" },
    { datacontenttype: "text/plain", data: "Zoë", dataschema: "https://a.example/s#1" },
    { datacontenttype: "application/octet-stream", data: new Uint8Array([255, 0]), myextension: "x" },
  ];
  return contents.map((content, number) => {
    const attributes = {
      id: `npm-${number}`,
      // The SDK does not encode values of headers, which receivers decode: it has no percent sign.
      source: "/a?b=c",
      type: "com.example.x",
      time: "2018-04-05T17:31:00.123Z",
    };
    return new CloudEvent<unknown>({ ...attributes, partitionkey: key, ...content });
  });
}

function read({ binding, headers, key, body }: Message): Event[] {
  const bytes = Buffer.from(body, "base64");
  if (binding === "kafka") {
    const message = { headers, key, value: isStructured(headers) ? bytes.toString() : bytes, body: bytes };
    return [Kafka.toEvent(message as KafkaMessage<unknown>)].flat() as Event[];
  }
  return [HTTP.toEvent({ headers: headers as Record<string, string>, body: bytes.toString() })].flat() as Event[];
}

function isStructured(headers: Headers): boolean {
  return headers["content-type"]?.startsWith("application/cloudevents") ?? false;
}

/** The event as JSON that is the same for each binding and mode. */
function canonical(event: Event): object {
  const { time, data, data_base64, ...attributes } = event.toJSON() as Record<string, unknown>;
  const all = { ...attributes, time: new Date(String(time)).toISOString() };
  if (typeof data_base64 !== "string") return { ...all, data };
  const isText = event.datacontenttype?.startsWith("text/");
  return isText ? { ...all, data: Buffer.from(data_base64, "base64").toString() } : { ...all, data_base64 };
}
