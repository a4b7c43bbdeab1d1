// What the client does in a page, and what its connections carry.

import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { connect, type Gate, type Status } from "sluicegate";

import {
  KafkaDeliveryRespSchema,
  PubSubReqSchema,
  PubSubRespSchema,
} from "../../../clients/typescript/src/generated/pubsub_pb.ts";

/** What a subscription was delivered beyond its credit, and its largest record. Bytes of messages. */
const credit = { granted: 0, delivered: 0, excess: 0, largest: 0 };

/** Counts grants and deliveries of one subscription. */
class Counted extends WebSocket {
  constructor(url: string | URL, protocols?: string | string[]) {
    super(url, protocols);
    this.addEventListener("message", ({ data }) => {
      const { resp } = fromBinary(PubSubRespSchema, new Uint8Array(data));
      if (resp.case !== "kafkaDeliveryResp") return;
      for (const message of resp.value.messages) {
        const size = toBinary(KafkaDeliveryRespSchema, create(KafkaDeliveryRespSchema, { messages: [message] })).length;
        credit.delivered += size;
        credit.largest = Math.max(credit.largest, size);
      }
      credit.excess = Math.max(credit.excess, credit.delivered - credit.granted);
    });
  }

  override send(bytes: Uint8Array<ArrayBuffer>): void {
    const { req } = fromBinary(PubSubReqSchema, bytes);
    if (req.case === "cmdKafkaSubscribe") credit.granted += Number(req.value.credit);
    if (req.case === "cmdCredit") credit.granted += Number(req.value.bytes);
    super.send(bytes);
  }
}

/** Takes `count` records of a partition slowly, and tells the first that is not the next one. */
export async function slowLoop(url: string, topic: string, count: number) {
  const { WebSocket } = globalThis;
  globalThis.WebSocket = Counted;
  const gate = connect(url);
  let next = 0;
  let wrong: number | undefined;
  for await (const { offset } of gate.subscribe(topic, { from: "earliest" })) {
    if (offset !== next) wrong ??= offset;
    next += 1;
    if (next === count) break;
    if (next % 1000 === 0) await pause(next === count / 2 ? 2000 : 5);
  }
  gate.close();
  globalThis.WebSocket = WebSocket;
  return { next, wrong, ...credit };
}

/** Clients with a subscription each, and what they have seen. */
const clients: { gate: Gate; statuses: Status[]; values: string[] }[] = [];

/** Opens clients, and resolves when all are connected. */
export async function openAll(url: string, topic: string, count: number): Promise<void> {
  for (let number = 0; number < count; number++) {
    const client: (typeof clients)[0] = { gate: connect(url), statuses: [], values: [] };
    client.gate.addEventListener("status", (event) => {
      client.statuses.push((event as CustomEvent<Status>).detail);
    });
    void (async () => {
      for await (const { value } of client.gate.subscribe(topic, { from: "earliest" })) client.values.push(value?.text() ?? "");
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

/** The pauses before the attempts of each client after its connection was lost, in milliseconds. */
export function pauses(): number[][] {
  return clients.map(({ statuses }) => statuses.flatMap((status) => (status.state === "waiting" ? [status.retryIn] : [])));
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
