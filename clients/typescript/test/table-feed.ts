// A subscription of the server's topic `t` as a table: a snapshot comes first, unless the client says where it continues.

import { recordCost } from "../src/cost.ts";
import type { CmdKafkaSubscribe, KafkaMessage } from "../src/generated/pubsub_pb.ts";
import type { Resp } from "./stream.ts";

export interface Topic {
  readonly logs: KafkaMessage[][];
  topicId: Uint8Array<ArrayBuffer>;
  /** Snapshots do not end. */
  holdsSnapshots: boolean;
  /** Nothing comes after `subscribed`. */
  holdsRecords: boolean;
}

type Sent = { resp: Resp; cost: number };

export class TableFeed {
  readonly #topic: Topic;
  /** Answers before the records that follow. */
  #first: Sent[] = [];
  #next = new Map<number, number>();
  readonly #caughtUp = new Set<number>();

  constructor(topic: Topic, { sources }: CmdKafkaSubscribe) {
    this.#topic = topic;
    const [source] = sources;
    if (!source?.next.length) return;
    this.#next = new Map(source.next.map(({ partition, offset }) => [partition, Number(offset)]));
    this.#first = [this.#subscribed(false)];
  }

  /** Sends a snapshot, before anything else. */
  begin(): void {
    const { logs } = this.#topic;
    this.#caughtUp.clear();
    this.#next = new Map(logs.map((log, partition) => [partition, log.length]));
    const newest = logs.flatMap((log, partition) => {
      const rows = new Map(log.flatMap((message) => (message.key ? [[`${message.key}`, message] as const] : [])));
      return [...rows.values()].filter(({ value }) => value).map((message) => this.#delivery(partition, message));
    });
    this.#first = [this.#subscribed(true), ...newest, event({ case: "snapshotEnd", value: { skipped: 0n } })];
  }

  poll(): Sent | undefined {
    if (this.#next.size === 0) this.begin();
    if (this.#topic.holdsSnapshots && this.#first.length === 1) return undefined;
    return this.#first.shift() ?? (this.#topic.holdsRecords ? undefined : this.#follow());
  }

  #follow(): Sent | undefined {
    for (const [partition, offset] of this.#next) {
      const message = this.#topic.logs[partition]?.[offset];
      if (message) {
        this.#next.set(partition, offset + 1);
        return this.#delivery(partition, message);
      }
      if (this.#caughtUp.has(partition)) continue;
      this.#caughtUp.add(partition);
      const value = { topic: "t", partition, nextOffset: BigInt(offset) };
      return event({ case: "caughtUp", value });
    }
    return undefined;
  }

  #subscribed(snapshot: boolean): Sent {
    const partitions = [...this.#next].map(([partition, offset]) => ({ partition, offset: BigInt(offset) }));
    const topics = [{ topic: "t", topicId: this.#topic.topicId, partitions }];
    return { resp: { case: "kafkaSubscribedResp", value: { topics, snapshot } }, cost: 0 };
  }

  #delivery(partition: number, message: KafkaMessage): Sent {
    const nextOffset = BigInt(this.#next.get(partition)!);
    const value = { messages: [message], topic: "t", partition, nextOffset };
    return { resp: { case: "kafkaDeliveryResp", value }, cost: recordCost(message) };
  }
}

type Event = (Resp & { case: "kafkaSubscriptionEvent" })["value"]["event"];

function event(event: Event): Sent {
  return { resp: { case: "kafkaSubscriptionEvent", value: { event } }, cost: 0 };
}
