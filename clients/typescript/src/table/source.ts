// The contract between a table and the messaging system whose log it follows.

import type { Answer, Command } from "../connection.ts";
import type { Data } from "../data.ts";
import type { KafkaSubscriptionEvent, NatsSubscriptionEvent } from "../generated/pubsub_pb.ts";
import { eventInput } from "../loop.ts";
import type { PlacesOfLog } from "../positions.ts";
import type { EventInput, LogEvent, SubscribedLog } from "../system.ts";

/** @internal Parts in which the messaging systems differ. Messages are records on Kafka. */
export interface Source<T, R, M = any> {
  /** Distinguishes the table from others of the same route, beside `filters`. */
  readonly name: string;
  /** Subscribes with the credit in bytes: anew, or from `places`, after `away` milliseconds, if they are known. */
  command(places: PlacesOfLog | undefined, away: number | undefined, credit: number): Command;
  /** Undefined if the answer says nothing to this version. */
  input(answer: Answer): TableInput<M> | undefined;
  /** The value of a message that does not remove its key. */
  value(message: M): Data<T> | undefined;
  /** The message as applications see it. */
  record(partition: number, message: M): R;
  /** Tells the user about an event of the log. */
  tell(partition: number, event: TableLogEvent): void;
}

/** @internal An answer of a table's subscription. Offsets are sequences on NATS. */
export type TableInput<M> =
  | ({ case: "subscribed"; snapshot: boolean } & Omit<SubscribedLog, "log">)
  | { case: "delivery"; partition: number; entries: SourceEntry<M>[]; next: bigint; end: bigint; cost: number }
  | { case: "building"; partition: number; event: TableLogEvent }
  | { case: "logStart"; partition: number; offset: bigint }
  | { case: "snapshotEnd"; skipped: number }
  | EventInput;

/** @internal A message that sets or removes a key. */
export interface SourceEntry<M> {
  /** Undefined: it is no part of the table. */
  key: string | undefined;
  /** Undefined: the key is removed. It shares no memory with the delivery, which would outlive it. */
  message: M | undefined;
  offset: bigint;
  timestamp: bigint;
}

/** @internal An event of a log, wherever it happened. */
export type TableLogEvent = LogEvent | { type: "building"; next: number; end: number };

/** @internal The meaning of an event of the contract. Undefined if it says nothing to this version. */
export function tableEvent(
  event: KafkaSubscriptionEvent["event"] | NatsSubscriptionEvent["event"],
): Exclude<TableInput<never>, { case: "subscribed" | "delivery" }> | undefined {
  const { case: type, value } = event;
  if (!value) return undefined;
  const partition = "partition" in value ? value.partition : 0;
  switch (type) {
    case "building": {
      const next = Number("nextOffset" in value ? value.nextOffset : value.nextSequence);
      return { case: type, partition, event: { type, next, end: Number(value.end) } };
    }
    case "logStart":
      return { case: type, partition, offset: value.offset };
    case "firstSequence":
      return { case: "logStart", partition, offset: value.sequence };
    case "snapshotEnd":
      return { case: type, skipped: Number(value.skipped) };
    default:
      return eventInput({ log: "", partition }, event);
  }
}
