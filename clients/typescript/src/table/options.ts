// Settings and events of tables.

import { allow, callback, flag, list, members, name, partition } from "../check.ts";
import type { Data, Schema } from "../data.ts";
import type { Filter } from "../filter.ts";
import { loopChecks } from "../loop.ts";
import type { StreamEvent } from "../streams.ts";
import type { SubscriptionEvent } from "../topics.ts";

/**
 * The settings that {@link TableOptions} and {@link StreamTableOptions} share.
 *
 * @typeParam Event {@link TableEvent} for topics, {@link StreamTableEvent} for streams.
 * @typeParam T the type of values.
 */
export interface TableSettings<Event, T = any> {
  /** Only keys whose newest record or message matches every filter; at most 16. */
  filters?: Filter[];
  /** Validates values. Keys whose value it does not allow are left out. By default none is validated. */
  schema?: Schema<T>;
  /**
   * Converts each value. Keys for which it returns `undefined` are left out. By default `(data) => data.json()`. `true`
   * is {@link SubscribeOptions.decode}, for tables of topics only.
   */
  decode?: boolean | ((data: Data) => T | undefined);
  /**
   * Keeps the table in the browser (IndexedDB), so that a reloaded page shows it at once and then only gets what has
   * changed. The data stays on the device until {@link Gate.clear}. By default `false`.
   */
  store?: boolean;
  /**
   * A name for the user. A stored table is only shown to the identity that stored it. By default it is the issuer and the
   * subject of the token that the client offers; without such a token, nothing is stored. With a name, a reloaded page
   * shows the stored table before `refresh` has given a token. Create another table for another user.
   */
  identity?: string;
  /** Called for each event. If it throws, the table ends with its error. */
  onEvent?: (event: Event) => void;
  /** Closes the table when aborted. */
  signal?: AbortSignal;
}

/**
 * The settings of a table of a topic: {@link Gate.table}.
 *
 * @typeParam T the type of values.
 */
export interface TableOptions<T = any> extends TableSettings<TableEvent, T> {
  /** Only these partitions. By default all, including those added later. */
  partitions?: number[];
}

/**
 * The settings of a table of a stream: {@link Gate.table}.
 *
 * @typeParam T the type of payloads.
 */
export interface StreamTableOptions<T = any> extends TableSettings<StreamTableEvent, T> {
  /** The stream. */
  stream: string;
  /** Converts each value. Keys for which it returns `undefined` are left out. By default `(data) => data.json()`. */
  decode?: (data: Data) => T | undefined;
}

/** An event of any table. */
export type TableStatusEvent =
  /** The table's `status` has changed. `error` says why the table ended, unless it was closed. */
  | { readonly type: "status"; readonly status: "loading" | "stale" | "current" | "closed"; readonly error?: unknown }
  /** The table is complete. `skipped` records have no key, and are no part of it. */
  | { readonly type: "complete"; readonly skipped: number }
  /** The table is not stored any longer, for example because the disk is full. It goes on without. */
  | { readonly type: "storeFailed"; readonly error: unknown };

/** An event of a table of a topic. */
export type TableEvent =
  | SubscriptionEvent
  | TableStatusEvent
  /** The bridge still reads the partition's log: it has read up to `next` of `end`. Comes about once a second. */
  | {
      readonly type: "building";
      readonly topic: string;
      readonly partition: number;
      readonly next: number;
      readonly end: number;
    };

/** An event of a table of a stream. */
export type StreamTableEvent =
  | StreamEvent
  | TableStatusEvent
  /** The bridge still reads the stream: it has read up to `next` of `end`. Comes about once a second. */
  | { readonly type: "building"; readonly stream: string; readonly next: number; readonly end: number };

const { signal, schema, filters, onEvent } = loopChecks as Record<"signal" | "schema" | "filters" | "onEvent", never>;
const settings = { signal, schema, filters, onEvent, store: flag, identity: name };

const decoder = allow(
  "true, false or a function",
  (value) => typeof value === "boolean" || typeof value === "function",
);

/** @internal */
export const checkTable = members({ ...settings, decode: decoder, partitions: list(partition, "partitions", 1000, 1) });

/** @internal */
export const checkStreamTable = members({ ...settings, decode: callback, stream: name }, ["stream"]);
