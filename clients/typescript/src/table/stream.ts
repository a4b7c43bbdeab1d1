// Streams of NATS JetStream as sources of tables: the subject of a message is its key.

import type { Answer, Command } from "../connection.ts";
import { messageCost } from "../cost.ts";
import { Data } from "../data.ts";
import { type NatsMessage, Snapshot } from "../generated/pubsub_pb.ts";
import { loopFields } from "../loop.ts";
import { type MessageFields, type StreamMessage, streamMessage } from "../message.ts";
import { fromBase64, type PlacesOfLog } from "../positions.ts";
import type { StreamTableOptions } from "./options.ts";
import { type Source, type SourceEntry, type TableInput, type TableLogEvent, tableEvent } from "./source.ts";
import { copied } from "./topic.ts";

/** @internal */
export class StreamSource<T> implements Source<T, StreamMessage<T>, MessageFields> {
  readonly name: string;
  readonly #options: StreamTableOptions<T>;

  constructor(options: StreamTableOptions<T>) {
    this.#options = options;
    this.name = JSON.stringify({ stream: options.stream });
  }

  command(places: PlacesOfLog | undefined, away: number | undefined, credit: number): Command {
    const next = places?.next.get(0);
    const from = next === undefined ? undefined : ({ case: "sequence", value: BigInt(next) } as const);
    const sources = [{ stream: this.#options.stream, from, streamId: fromBase64(places?.id ?? "") }];
    const snapshot = { snapshot: Snapshot.LATEST_PER_KEY, awayMs: away === undefined ? undefined : BigInt(away) };
    return { case: "cmdNatsSubscribe", value: { sources, ...snapshot, ...loopFields(this.#options, credit) } };
  }

  input(answer: Answer): TableInput<MessageFields> | undefined {
    switch (answer.case) {
      case "natsSubscribedResp": {
        const [stream] = answer.value.streams;
        const { snapshot } = answer.value;
        const begins = stream && [{ partition: 0, offset: stream.nextSequence }];
        return begins && { case: "subscribed", snapshot, id: stream.streamId, begins };
      }
      case "natsDeliveryResp": {
        const { messages, nextSequence: next, end } = answer.value;
        const cost = messages.reduce((sum, message) => sum + messageCost(message), 0);
        return { case: "delivery", partition: 0, entries: messages.map(entry), next, end, cost };
      }
      case "natsSubscriptionEvent":
        return tableEvent(answer.value.event);
    }
  }

  value({ data }: MessageFields): Data<T> {
    return new Data(data, this.#options.schema);
  }

  record(_: number, message: MessageFields): StreamMessage<T> {
    return streamMessage(this.#options.stream, message, this.#options.schema);
  }

  tell(_: number, event: TableLogEvent): void {
    this.#options.onEvent?.({ ...event, stream: this.#options.stream });
  }
}

function entry({ sequence, timestamp, subject, data, headers }: NatsMessage): SourceEntry<MessageFields> {
  const message = headers.some(isMarker)
    ? undefined
    : { sequence, timestamp, subject, data: data.slice(), headers: copied(headers) };
  return { key: subject, message, offset: sequence, timestamp };
}

/** Whether the header says that the message removes its subject: NATS ADR-8 and ADR-43. */
function isMarker({ key, value }: MessageFields["headers"][number]): boolean {
  if (key === "Nats-Marker-Reason") return true;
  return key === "KV-Operation" && REMOVALS.has(new TextDecoder().decode(value));
}

const REMOVALS: ReadonlySet<string> = new Set(["DEL", "PURGE"]);
