// The client in a page or a worker, and a count of what its connections carry.

import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { connect, type Gate, type NewRecord, type Status } from "sluicegate";

import {
  KafkaDeliveryRespSchema,
  PubSubReqSchema,
  PubSubRespSchema,
} from "../../../../clients/typescript/src/generated/pubsub_pb.ts";

/**
 * Bytes of messages: in the page and not yet taken, the most there were, delivered without credit, and the largest
 * message.
 */
const bytes = { waiting: 0, mostWaiting: 0, withoutCredit: 0, largest: 0 };
/** Of each message, by its offset. */
const sizes: number[] = [];

/** Counts grants and deliveries of one subscription. */
class Counted extends WebSocket {
  #credit = 0;

  constructor(url: string | URL, protocols?: string | string[]) {
    super(url, protocols);
    this.addEventListener("message", ({ data }) => {
      const { resp } = fromBinary(PubSubRespSchema, new Uint8Array(data));
      // After a cut, the client takes nothing from this connection any more.
      if (resp.case !== "kafkaDeliveryResp" || this.readyState !== WebSocket.OPEN) return;
      for (const message of resp.value.messages) {
        const size = toBinary(KafkaDeliveryRespSchema, create(KafkaDeliveryRespSchema, { messages: [message] })).length;
        sizes[Number(message.offset)] = size;
        this.#credit -= size;
        bytes.waiting += size;
        bytes.largest = Math.max(bytes.largest, size);
      }
      bytes.withoutCredit = Math.max(bytes.withoutCredit, -this.#credit);
      bytes.mostWaiting = Math.max(bytes.mostWaiting, bytes.waiting);
    });
  }

  override send(data: Uint8Array<ArrayBuffer>): void {
    const { req } = fromBinary(PubSubReqSchema, data);
    if (req.case === "cmdKafkaSubscribe") this.#credit += Number(req.value.credit);
    if (req.case === "cmdCredit") this.#credit += Number(req.value.bytes);
    super.send(data);
  }
}

/**
 * Takes `count` records of a partition slowly, cuts the connection meanwhile, and tells the first that is not the next
 * one.
 */
export async function slowLoop(url: string, topic: string, count: number, window: number) {
  globalThis.WebSocket = Counted;
  const gate = connect(url);
  let next = 0;
  let wrong: number | undefined;
  for await (const { offset } of gate.subscribe(topic, { from: "earliest", window })) {
    // The one before is done with.
    bytes.waiting -= sizes[offset - 1] ?? 0;
    if (offset !== next) wrong ??= offset;
    next += 1;
    if (next === count) break;
    if (next % 1000 === 0) await pause(next === count / 2 ? 2000 : 5);
    if (next % 30_000 === 0) gate.reconnect();
  }
  gate.close();
  return { next, wrong, ...bytes };
}

/** Clients with a subscription each, and what they have seen. */
const clients: { gate: Gate; statuses: { at: number; status: Status }[]; values: string[] }[] = [];

/** Opens clients, and resolves when all are connected. */
export async function openAll(url: string, topic: string, count: number): Promise<void> {
  for (let number = 0; number < count; number++) {
    const client: (typeof clients)[0] = { gate: connect(url), statuses: [], values: [] };
    client.gate.addEventListener("status", ({ detail: status }) => {
      client.statuses.push({ at: performance.now(), status });
    });
    void (async () => {
      for await (const { value } of client.gate.subscribe(topic, { from: "earliest" }))
        client.values.push(value?.text() ?? "");
    })();
    clients.push(client);
  }
  while (!states().every((state) => state === "open")) await pause(20);
}

export function states(): string[] {
  return clients.map(({ gate }) => gate.status.state);
}

export function values(): string[][] {
  return clients.map(({ values }) => values);
}

/**
 * The pauses of each client after its connection was lost: as announced, and as they were, from the status before on,
 * because the timer runs when a listener is told. Milliseconds.
 */
export function pauses(): { announced: number; waited: number }[][] {
  return clients.map(({ statuses }) =>
    statuses.flatMap(({ at, status }, index) => {
      const next = statuses[index + 1];
      const since = statuses[index - 1]?.at ?? at;
      return status.state === "waiting" && next ? [{ announced: status.retryIn, waited: next.at - since }] : [];
    }),
  );
}

/** Tells all clients that the network or the user is back, and resolves with the milliseconds until all are connected anew. */
export async function comeBack(how: "online" | "retryNow"): Promise<number> {
  const start = performance.now();
  if (how === "online") dispatchEvent(new Event(how));
  else for (const { gate } of clients) gate.retryNow();
  const isOpen = ({ at, status }: { at: number; status: Status }) => at > start && status.state === "open";
  while (!clients.every(({ statuses }) => statuses.some(isOpen))) await pause(20);
  return performance.now() - start;
}

/** Why a connection was not opened. */
export function failure(url: string): Promise<string> {
  const gate = connect(url);
  return new Promise((resolve) => {
    gate.addEventListener("status", ({ detail }) => {
      if (detail.state !== "disconnected") return;
      gate.close();
      resolve(detail.error.message);
    });
    gate.ping().catch(() => {});
  });
}

/** Errors of wrong calls, the number of the topic's records after them, and the offset of a right one. */
export async function wrongWrites(url: string, topic: string) {
  const gate = connect(url);
  await gate.ping();
  const calls = [
    "hello",
    { gate: "mine" },
    { message: "hello" },
    {},
    { value: "hello", headers: { a: "b" } },
  ] as unknown as NewRecord[];
  const results = await Promise.allSettled(calls.map((call) => gate.produce(topic, call)));
  const errors = results.map((result) => (result.status === "rejected" ? (result.reason as Error).name : "written"));
  const ends = await gate.offsets(topic, "latest");
  const { offset: right } = await gate.produce(topic, { value: null, partition: 0 });
  gate.close();
  return { errors, records: [...ends.values()].reduce((sum, end) => sum + end, 0), right };
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
