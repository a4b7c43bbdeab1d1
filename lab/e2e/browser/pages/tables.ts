// A page with a table that is stored.

import { connect, type Gate, type Table } from "sluicegate/tables";

let gate: Gate;
let table: Table;

/** Opens the table of a topic for this user. */
export function open(url: string, topic: string, identity: string): void {
  gate = connect(url);
  table = gate.table(topic, { store: true, identity });
}

/** The table's status and entries. */
export function state(): { status: string; values: Record<string, unknown> } {
  return { status: table.status, values: Object.fromEntries(table) };
}

/** Writes a key. */
export async function write(topic: string, key: string, value: unknown): Promise<void> {
  await gate.produce(topic, { key, value: JSON.stringify(value) });
}

/** Clears the store, as pages do at a logout. */
export async function clear(): Promise<void> {
  await gate.clear();
}
