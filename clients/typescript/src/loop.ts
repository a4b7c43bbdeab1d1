// Options and events that subscriptions to topics and to streams share.

import { allow, type Check, callback, command, from, INTEGER, integer, schema } from "./check.ts";
import { timestamp } from "./commands.ts";
import type { Schema } from "./data.ts";
import { GateError } from "./errors.ts";
import { checkFilters, type Filter, recordFilters } from "./filter.ts";
import type { KafkaSubscriptionEvent, NatsSubscriptionEvent } from "./generated/pubsub_pb.ts";
import type { PositionStore } from "./positions.ts";
import type { EventInput, Place } from "./system.ts";

/**
 * The settings that {@link SubscribeOptions} and {@link StreamOptions} share.
 *
 * @typeParam Event {@link SubscriptionEvent} for topics, {@link StreamEvent} for streams.
 * @typeParam P {@link Positions} for topics, {@link StreamPositions} for streams.
 * @typeParam T the type of values or payloads.
 */
export interface LoopOptions<Event, P, T = any> {
  /**
   * Where to begin: at the start or end of the logs, at an offset or sequence, so many of them before the end (`-10`, or
   * the text `"-10"`), or with the first record or message at or after a time: a `Date`, or a text such as `s@-5m`, `s@2026-01-31T12:00:00Z` or
   * `s@1700000000000`. By default `latest`.
   */
  from?: "earliest" | "latest" | number | `${bigint}` | Date | `s@${string}`;
  /**
   * Begins so many offsets or sequences before the end of each partition or stream, in place of `from`. Where some of
   * them are missing, as after compaction, there are fewer records.
   */
  last?: number;
  /** Only records or messages that match every filter; at most 16. */
  filters?: Filter[];
  /**
   * If the loop falls behind, `wait` delivers everything later, and `skip` jumps to the end, for live views. By default
   * `wait`.
   */
  onLag?: "wait" | "skip";
  /** Bytes that can wait for the loop, plus one record or message. By default 256 KiB. */
  window?: number;
  /** Keeps positions, so that a reloaded page continues where it was. They override `from` and `last`. */
  positions?: PositionStore<P>;
  /**
   * Validates values or payloads: {@link Data.json} returns `undefined` for those that it does not allow. By default
   * none is validated.
   */
  schema?: Schema<T>;
  /** Called for each event between the records or messages. */
  onEvent?: (event: Event) => void;
  /** Ends the loop when aborted. */
  signal?: AbortSignal;
}

/** @internal The settings that topics and streams share. */
export const loopChecks: { [member: string]: Check } = {
  ...command,
  schema,
  from,
  last: integer(),
  filters: checkFilters,
  onLag: allow('"wait" or "skip"', (value) => value === "wait" || value === "skip"),
  window: integer(1),
  positions: allow(
    "an object with load() and save()",
    (value) => typeof value?.load === "function" && typeof value.save === "function",
  ),
  onEvent: callback,
};

/** @internal Where a subscription begins, in the contract: a negative offset is before the end. */
export function begin<Offset extends string>(
  offset: Offset,
  { from, last }: Pick<LoopOptions<never, never>, "from" | "last">,
) {
  // Offset 0 is the start.
  const at = last ? -last : (from ?? "latest");
  if (INTEGER.test(`${at}`)) return { case: offset, value: BigInt(at as number | string) } as const;
  return { case: "timestamp", value: timestamp(at as "latest" | Date) } as const;
}

/** @internal `last` takes the place of `from`. */
export function checkBegin({ from, last }: { from?: unknown; last?: unknown }): void {
  if (from !== undefined && last !== undefined)
    throw new TypeError("subscribe: options: from and last exclude each other");
}

/** @internal The fields of a subscription command that topics and streams share. */
export function loopFields({ filters, onLag }: Pick<LoopOptions<never, never>, "filters" | "onLag">, credit: number) {
  return {
    filters: recordFilters(filters),
    credit: BigInt(credit),
    onLag: Number(onLag === "skip"),
  };
}

type AnyEvent = KafkaSubscriptionEvent["event"] | NatsSubscriptionEvent["event"];

/** @internal An event of the contract, and where the subscription continues. */
export function eventInput(at: Place, event: AnyEvent): EventInput | undefined {
  switch (event.case) {
    case "caughtUp": {
      if (!("nextOffset" in event.value))
        return { case: "event", at, event: { type: "caughtUp" }, next: event.value.nextSequence };
      const { nextOffset: next, openTransaction: open } = event.value;
      return {
        case: "event",
        at,
        event: { type: "caughtUp", ...(open && { openTransaction: { end: Number(open.end) } }) },
        next,
      };
    }
    case "skipped": {
      const { from, to } = event.value;
      return { case: "event", at, event: { type: "skipped", from: Number(from), to: Number(to) }, next: to };
    }
    case "retrying": {
      const { error } = event.value;
      return error && { case: "event", at, event: { type: "retrying", error: GateError.of(error) } };
    }
  }
}
