// Subscriptions to topics of Kafka.

import { flag, list, members, name, partition } from "./check.ts";
import { offsetsBehind } from "./commit.ts";
import type { Answer, Command } from "./connection.ts";
import { recordCost } from "./cost.ts";
import { GateError } from "./errors.ts";
import type { SubscribedTopic } from "./generated/pubsub_pb.ts";
import { begin, eventInput, type LoopOptions, loopChecks, loopFields } from "./loop.ts";
import { fromBase64, type Places, type PlacesOfLog, type Positions, placesOf, positionsOf } from "./positions.ts";
import { record, type TopicRecord } from "./record.ts";
import type { Input, LogEvent, Place, SubscribedLog, System } from "./system.ts";

/**
 * The settings of a subscription to topics: {@link Gate.subscribe}.
 *
 * @typeParam T the type of values.
 */
export interface SubscribeOptions<T = any> extends LoopOptions<SubscriptionEvent, Positions, T> {
  /** Only these partitions of each topic. By default all, including those added later. */
  partitions?: number[];
  /** Leaves out records of open or aborted transactions. By default `false`. */
  committed?: boolean;
  /**
   * Gives values with a schema as JSON, whatever the producer wrote, if the bridge's cluster has schemas:
   * {@link TopicRecord.valueSchema}. A value that cannot be decoded is as it is stored, and
   * {@link TopicRecord.notDecoded} says why. By default all values are as they are stored.
   */
  decode?: boolean;
}

/** @internal The same, and those of a member of a group. */
export type TopicOptions<T> = SubscribeOptions<T> & { group?: string; autoCommit?: boolean };

/** An event of a subscription to topics. */
export type SubscriptionEvent =
  /**
   * The loop has taken all records of the partition. With `openTransaction`, records before its `end` wait for a
   * transaction (`committed`), and come when it ends.
   */
  | {
      readonly type: "caughtUp";
      readonly topic: string;
      readonly partition: number;
      readonly openTransaction?: { readonly end: number };
    }
  /** The records `from` up to, but not including, `to` are not delivered: they were deleted, or `onLag` is `skip`. */
  | {
      readonly type: "skipped";
      readonly topic: string;
      readonly partition: number;
      readonly from: number;
      readonly to: number;
    }
  /** Positions in the browser's storage cannot be read or saved: {@link positionsIn}. It comes once. */
  | { readonly type: "storeFailed"; readonly error: unknown }
  /** Kafka cannot be read at the moment. The subscription continues by itself. */
  | { readonly type: "retrying"; readonly topic: string; readonly partition: number; readonly error: GateError };

/** @internal */
export const checkSubscribe = members({
  ...loopChecks,
  partitions: list(partition, "partitions", 1000, 1),
  committed: flag,
  decode: flag,
  group: name,
  autoCommit: flag,
});

/** @internal Throws a TypeError if one setting of a member excludes another. */
export function checkMember(settings: object): void {
  const given = (name: string) => (settings as { [name: string]: unknown })[name] !== undefined;
  if (given("group")) {
    const other = ["partitions", "positions", "onLag"].find(given);
    if (other) throw new TypeError(`subscribe: options: group and ${other} exclude each other`);
  } else if (given("autoCommit")) throw new TypeError("subscribe: options.autoCommit: expected a group beside it");
}

/** @internal A topic to read, from where it continues. */
export function kafkaSource(
  topic: string,
  partitions: number[],
  { id, next }: PlacesOfLog = { id: "", next: new Map() },
) {
  return {
    topic,
    partitions,
    next: [...next].map(([partition, offset]) => ({ partition, offset: BigInt(offset) })),
    topicId: fromBase64(id),
  };
}

/** @internal */
export class Topics<T> implements System<TopicRecord<T>, Positions> {
  readonly places = placesOf;
  readonly positions = positionsOf;
  readonly #topics: string[];
  readonly #options: TopicOptions<T>;
  /** Absent without a group. */
  readonly offsets: System<TopicRecord<T>, Positions>["offsets"];
  /** Counts the assignments of a group. */
  #assignment: number | undefined;

  constructor(topics: string[], options: TopicOptions<T>) {
    this.#topics = topics;
    this.#options = options;
    if (options.group !== undefined)
      this.offsets = (taken: Places, records: unknown) => offsetsBehind(taken, this.#assignment ?? 0, records);
  }

  command(received: Places, credit: number): Command {
    const { partitions = [], committed, decode, group } = this.#options;
    const from = begin("offset", this.#options);
    const sources = this.#topics.map((topic) => ({ ...kafkaSource(topic, partitions, received.get(topic)), from }));
    return {
      case: "cmdKafkaSubscribe",
      value: { sources, isolation: Number(committed ?? false), decode, group, ...loopFields(this.#options, credit) },
    };
  }

  input(answer: Answer): Input<TopicRecord<T>> | undefined {
    switch (answer.case) {
      case "kafkaSubscribedResp": {
        const logs = logsOf(answer.value.topics);
        // A bridge that does not know the field would give each member all records.
        if (this.offsets && !this.#assignment && logs.some(({ begins }) => begins.length))
          throw new GateError("the bridge has no groups: expected a newer one", "protocol");
        return { case: "subscribed", logs };
      }
      case "kafkaDeliveryResp": {
        const { topic, partition, messages, nextOffset: next } = answer.value;
        const items = messages.map((message) => ({
          item: record(topic, partition, message, this.#options.schema, this.#assignment),
          offset: message.offset,
          cost: recordCost(message),
        }));
        return { case: "delivery", at: { log: topic, partition }, items, next };
      }
      case "kafkaSubscriptionEvent": {
        const { event } = answer.value;
        if (event.case === "assigned") {
          const { topics, assignment } = event.value;
          this.#assignment = (this.#assignment ?? 0) + 1;
          return { case: "assigned", logs: logsOf(topics), assignment };
        }
        if (event.case === "revoked") return { case: "revoked" };
        if (!event.value || !("topic" in event.value)) return undefined;
        return eventInput({ log: event.value.topic, partition: event.value.partition }, event);
      }
    }
  }

  tell({ log: topic, partition }: Place, event: LogEvent): void {
    this.#options.onEvent?.({ ...event, topic, partition });
  }
}

function logsOf(topics: SubscribedTopic[]): SubscribedLog[] {
  return topics.map(({ topic, topicId: id, partitions: begins }) => ({ log: topic, id, begins }));
}
