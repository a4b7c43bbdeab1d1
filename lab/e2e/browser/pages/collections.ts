// A page with a collection of TanStack DB, whose rows are the newest values of a compacted topic.

import { DurableStream } from "@durable-streams/client";
import { createStateSchema, createStreamDB } from "@durable-streams/state/db";

interface Order {
  id: string;
  status: string;
}

const schema = {
  "~standard": { version: 1, vendor: "test", validate: (value: unknown) => ({ value: value as Order }) },
} as const;

let show: () => Record<string, string>;
const changes: string[] = [];

/** Opens the collection of a topic: resolves once it has what is there. */
export async function open(url: string, topic: string, live: "sse" | "long-poll"): Promise<void> {
  const state = createStateSchema({ orders: { schema, type: topic, primaryKey: "id" } });
  const db = createStreamDB({ streamOptions: { url, contentType: "application/json" }, live, state });
  const { orders } = db.collections;
  orders.subscribeChanges((changed) => {
    for (const { type, key } of changed) changes.push(`${type} ${key}`);
  });
  show = () => Object.fromEntries([...orders.entries()].map(([id, { status }]) => [id, status]));
  await db.preload();
}

/** The status of each order. */
export function rows(): Record<string, string> {
  return show();
}

/** The changes since the last call. */
export function changed(): string[] {
  return changes.splice(0);
}

/** Writes an order, as a change of the State Protocol. */
export async function write(url: string, topic: string, key: string, status: string): Promise<void> {
  const change = { type: topic, key, value: { status }, headers: { operation: "update" } };
  await new DurableStream({ url, contentType: "application/json" }).append(JSON.stringify(change));
}

/** Deletes an order. */
export async function remove(url: string, topic: string, key: string): Promise<void> {
  const change = { type: topic, key, headers: { operation: "delete" } };
  await new DurableStream({ url, contentType: "application/json" }).append(JSON.stringify(change));
}
