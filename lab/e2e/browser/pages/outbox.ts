// A page that writes to an outbox.

import { connect, type Gate, type Outbox, openOutbox } from "sluicegate/outbox";

let gate: Gate;
let outbox: Outbox;

/** Opens the outbox of a topic. */
export function open(url: string, topic: string): void {
  gate = connect(url);
  outbox = openOutbox(gate, topic, { identity: "ann" });
}

/** Puts numbers, each with one of a few keys, and returns as soon as they are stored. */
export async function put(from: number, to: number): Promise<void> {
  for (let number = from; number < to; number++) await outbox.put({ key: `key ${number % KEYS}`, value: number });
}

/** The outbox's state. */
export function state(): Outbox["state"] {
  return outbox.state;
}

/** The numbers of each key in the topic, in their order. */
export async function written(topic: string): Promise<{ [key: string]: number[] }> {
  const numbers: { [key: string]: number[] } = {};
  for (const [partition, end] of await gate.offsets(topic, "latest")) {
    for (let offset = 0; offset < end; ) {
      const { records, next } = await gate.fetch(topic, partition, offset);
      for (const { key, value } of records) {
        numbers[`${key}`] ??= [];
        numbers[`${key}`]?.push(value?.json());
      }
      offset = next;
    }
  }
  return numbers;
}

const KEYS = 7;
