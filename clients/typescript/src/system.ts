// The contract between a subscription and the messaging system that it reads.

import type { Offset } from "./commit.ts";
import type { Answer, Command } from "./connection.ts";
import type { GateError } from "./errors.ts";
import type { Places } from "./positions.ts";

/** @internal Parts in which the messaging systems differ. Items are Kafka's records, or NATS' messages. */
export interface System<Item, P> {
  places(positions: P | undefined): Places;
  positions(places: Places): P;
  /** Subscribes, with the credit in bytes. `received` overrides where the user wants to begin. */
  command(received: Places, credit: number): Command;
  /** Undefined if the answer says nothing to this version. */
  input(answer: Answer): Input<Item> | undefined;
  /** Tells the user. */
  tell(at: Place, event: LogEvent): void;
  /**
   * Offsets to commit: behind these items, or without any those in `taken`. Without it, there are no groups.
   *
   * @throws TypeError if they are no items.
   */
  offsets?(taken: Places, items: unknown): Offset[];
}

/** @internal A topic's partition, or partition 0 of a stream. */
export interface Place {
  log: string;
  partition: number;
}

/** @internal An answer of a subscription. Offsets are sequences on NATS. */
export type Input<Item> =
  | { case: "subscribed"; logs: SubscribedLog[] }
  | { case: "assigned"; logs: SubscribedLog[]; assignment: bigint }
  | { case: "revoked" }
  | Delivery<Item>
  | EventInput;

/** @internal A log that was subscribed to. */
export interface SubscribedLog {
  log: string;
  id: Uint8Array;
  begins: { partition: number; offset: bigint }[];
}

/** @internal Items of one log. */
export interface Delivery<Item> {
  case: "delivery";
  at: Place;
  items: { item: Item; offset: bigint; cost: number }[];
  next: bigint;
}

/** @internal An event of one log. */
export interface EventInput {
  case: "event";
  at: Place;
  event: LogEvent;
  /** Where the subscription continues, if the event moves it. */
  next?: bigint;
}

/** @internal An event, wherever it happened. */
export type LogEvent =
  | { type: "caughtUp"; openTransaction?: { end: number } }
  | { type: "skipped"; from: number; to: number }
  | { type: "retrying"; error: GateError };
