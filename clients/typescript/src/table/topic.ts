// Topics of Kafka as sources of tables.

import type { Answer, Command } from "../connection.ts";
import { recordCost } from "../cost.ts";
import { Data, toBase64 } from "../data.ts";
import { type KafkaMessage, Snapshot } from "../generated/pubsub_pb.ts";
import { loopFields } from "../loop.ts";
import type { PlacesOfLog } from "../positions.ts";
import { type HeaderFields, type RecordFields, record, type TopicRecord } from "../record.ts";
import { kafkaSource } from "../topics.ts";
import type { TableOptions } from "./options.ts";
import { type Source, type SourceEntry, type TableInput, type TableLogEvent, tableEvent } from "./source.ts";

/** @internal */
export class TopicSource<T> implements Source<T, TopicRecord<T>, RecordFields> {
  readonly name: string;
  readonly #topic: string;
  readonly #options: TableOptions<T>;
  /** Undefined rather than false: a table that was stored without it keeps its name. */
  readonly #decode: true | undefined;

  constructor(topic: string, options: TableOptions<T>) {
    this.#topic = topic;
    this.#options = options;
    this.#decode = options.decode === true || undefined;
    this.name = JSON.stringify({ topic, partitions: options.partitions, decode: this.#decode });
  }

  command(places: PlacesOfLog | undefined, away: number | undefined, credit: number): Command {
    const sources = [kafkaSource(this.#topic, this.#options.partitions ?? [], places)];
    const snapshot = { snapshot: Snapshot.LATEST_PER_KEY, awayMs: away === undefined ? undefined : BigInt(away) };
    return {
      case: "cmdKafkaSubscribe",
      value: { sources, decode: this.#decode, ...snapshot, ...loopFields(this.#options, credit) },
    };
  }

  input(answer: Answer): TableInput<RecordFields> | undefined {
    switch (answer.case) {
      case "kafkaSubscribedResp": {
        const [topic] = answer.value.topics;
        const { snapshot } = answer.value;
        return topic && { case: "subscribed", snapshot, id: topic.topicId, begins: topic.partitions };
      }
      case "kafkaDeliveryResp": {
        const { partition, messages, nextOffset: next, highWatermark: end } = answer.value;
        const cost = messages.reduce((sum, message) => sum + recordCost(message), 0);
        return { case: "delivery", partition, entries: messages.map(entry), next, end, cost };
      }
      case "kafkaSubscriptionEvent":
        return tableEvent(answer.value.event);
    }
  }

  value({ value }: RecordFields): Data<T> | undefined {
    return value && new Data(value, this.#options.schema);
  }

  record(partition: number, message: RecordFields): TopicRecord<T> {
    return record(this.#topic, partition, message, this.#options.schema);
  }

  tell(partition: number, event: TableLogEvent): void {
    this.#options.onEvent?.({ ...event, topic: this.#topic, partition });
  }
}

function entry({ key, value, headers, keyJson, ...rest }: KafkaMessage): SourceEntry<RecordFields> {
  const { offset, timestamp, valueSchema, keySchema, notDecoded } = rest;
  const copies = value && {
    key: key?.slice(),
    value: value.slice(),
    headers: copied(headers),
    keyJson: keySchema ? keyJson.slice() : keyJson,
  };
  const message = copies && { offset, timestamp, valueSchema, keySchema, notDecoded, ...copies };
  return { key: key && text(key), message, offset, timestamp };
}

/** @internal Headers that share no memory with the delivery. */
export function copied(headers: HeaderFields["headers"]): HeaderFields["headers"] {
  return headers.map(({ key, value }) => ({ key, value: value?.slice() }));
}

/** Each key has a text of its own. */
function text(key: Uint8Array): string {
  try {
    const decoded = strict.decode(key);
    if (!decoded.startsWith("base64:")) return decoded;
  } catch {}
  return `base64:${toBase64(key)}`;
}

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
