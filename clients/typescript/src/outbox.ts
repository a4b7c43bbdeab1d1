// The client with outboxes. They are an entry of their own, because pages without them need not load them.

export * from "./index.ts";
export type { OutboxOptions, OutboxStatus, RefusedRecord, StoredRecord } from "./outbox/options.ts";
export { Outbox } from "./outbox/outbox.ts";

import { name } from "./check.ts";
import type { Gate } from "./gate.ts";
import { checkOutbox, type OutboxOptions } from "./outbox/options.ts";
import { Outbox } from "./outbox/outbox.ts";

/**
 * Opens the outbox of a topic: records that are put there are kept on this device until Kafka has them, each once, and those
 * with the same key in their order. Pages of one origin that open it for the same route, topic and user share it: one of them
 * sends.
 *
 * @throws {@link GateError} with `reason` `closed` if the client is closed.
 *
 * @example
 * ```ts
 * const outbox = openOutbox(gate, "orders", { identity: user.id });
 * outbox.addEventListener("state", ({ detail }) => show(`${detail.waiting} waiting`));
 * const { written } = await outbox.put({ key: "42", value: { id: 42 } });
 * ```
 */
export function openOutbox(gate: Gate, topic: string, options: OutboxOptions = {}): Outbox {
  name(topic, "openOutbox: topic");
  checkOutbox(options, "openOutbox: options");
  gate.connections.signal.throwIfAborted();
  return new Outbox(gate, topic, options);
}
