// Subscriptions to streams of NATS JetStream.

import { list, members, name } from "./check.ts";
import type { Answer, Command } from "./connection.ts";
import { messageCost } from "./cost.ts";
import type { GateError } from "./errors.ts";
import { begin, eventInput, type LoopOptions, loopChecks, loopFields } from "./loop.ts";
import { type StreamMessage, streamMessage } from "./message.ts";
import { fromBase64, type Places, type StreamPositions, streamPlacesOf, streamPositionsOf } from "./positions.ts";
import type { Input, LogEvent, Place, System } from "./system.ts";

/**
 * The settings of a subscription to streams: {@link Gate.subscribe}.
 *
 * @typeParam T the type of payloads.
 */
export interface StreamOptions<T = any> extends LoopOptions<StreamEvent, StreamPositions, T> {
  /** The streams; at most 100 names. */
  streams: string | string[];
}

/** An event of a subscription to streams. */
export type StreamEvent =
  /** The loop has taken all messages of the stream. */
  | { readonly type: "caughtUp"; readonly stream: string }
  /** The sequences `from` up to, but not including, `to` are not delivered: they were deleted, or `onLag` is `skip`. */
  | { readonly type: "skipped"; readonly stream: string; readonly from: number; readonly to: number }
  /** Positions in the browser's storage cannot be read or saved: {@link positionsIn}. It comes once. */
  | { readonly type: "storeFailed"; readonly error: unknown }
  /** NATS cannot be read at the moment. The subscription continues by itself. */
  | { readonly type: "retrying"; readonly stream: string; readonly error: GateError };

/** @internal */
export const checkStreams = members(
  {
    ...loopChecks,
    streams: (value, at) => (typeof value === "string" ? name : list(name, "names", 100, 1))(value, at),
  },
  ["streams"],
);

/** @internal */
export class Streams<T> implements System<StreamMessage<T>, StreamPositions> {
  readonly places = streamPlacesOf;
  readonly positions = streamPositionsOf;
  readonly #options: StreamOptions<T>;

  constructor(options: StreamOptions<T>) {
    this.#options = options;
  }

  command(received: Places, credit: number): Command {
    const sources = [this.#options.streams].flat().map((stream) => {
      const { id, next } = received.get(stream) ?? { id: "", next: undefined };
      const from = next?.get(0);
      return {
        stream,
        from: begin("sequence", from === undefined || from < 0 ? this.#options : { from }),
        streamId: fromBase64(id),
      };
    });
    return { case: "cmdNatsSubscribe", value: { sources, ...loopFields(this.#options, credit) } };
  }

  input(answer: Answer): Input<StreamMessage<T>> | undefined {
    switch (answer.case) {
      case "natsSubscribedResp": {
        const logs = answer.value.streams.map(({ stream, streamId: id, nextSequence: offset }) => ({
          ...at(stream),
          id,
          begins: [{ partition: 0, offset }],
        }));
        return { case: "subscribed", logs };
      }
      case "natsDeliveryResp": {
        const { stream, messages, nextSequence: next } = answer.value;
        const items = messages.map((message) => ({
          item: streamMessage(stream, message, this.#options.schema),
          offset: message.sequence,
          cost: messageCost(message),
        }));
        return { case: "delivery", at: at(stream), items, next };
      }
      case "natsSubscriptionEvent": {
        const { event } = answer.value;
        return event.value && "stream" in event.value ? eventInput(at(event.value.stream), event) : undefined;
      }
    }
  }

  tell({ log: stream }: Place, event: LogEvent): void {
    this.#options.onEvent?.({ ...event, stream });
  }
}

/** A stream has the place of a topic's only partition. */
function at(stream: string): Place {
  return { log: stream, partition: 0 };
}
