// Settings, state and events of outboxes.

import { allow, command, integer, members, name } from "../check.ts";
import type { GateError } from "../errors.ts";
import type { NewRecord, Written } from "../record.ts";

/** The settings of {@link openOutbox}. */
export interface OutboxOptions {
  /**
   * Where records are kept: in the browser's database, so that a reloaded page sends them, or in `memory`, until the page is
   * closed. By default `indexedDB`, which needs a page that is served over https, or from localhost.
   */
  store?: "indexedDB" | "memory";
  /**
   * A name for the user, such as their id. Records of one user are not sent with the login of another. By default it is the
   * issuer and the subject of the token that the client offers: without a name, the first `put` waits for a connection, and
   * a page that begins offline cannot put.
   */
  identity?: string;
  /** The most records, with those that were refused. By default 10,000. */
  maxRecords?: number;
  /** The most bytes of keys, values and headers. By default 16 MiB. */
  maxBytes?: number;
  /** Milliseconds after which a record that was never sent is refused. By default 7 days. */
  maxAge?: number;
  /** Closes the outbox when aborted. */
  signal?: AbortSignal;
}

/** How much is in an outbox: the `detail` of its `state` events, and {@link Outbox}'s `state`. */
export interface OutboxStatus {
  /** Records that are not in Kafka yet, as far as this device knows. */
  readonly waiting: number;
  /** Records that were refused: {@link Outbox.refused}. */
  readonly refused: number;
  /** Bytes of all of them. */
  readonly bytes: number;
  /** Why the last attempt to send has failed; `undefined` if it has not. A lost connection is a matter of the client's `status`. */
  readonly error: GateError | undefined;
}

/** A record that is stored. */
export interface StoredRecord {
  /** The number in the outbox. */
  readonly number: number;
  /**
   * Resolves when Kafka has the record. Rejects with a {@link GateError} if it was refused, and with `reason` `closed` if the
   * outbox is closed before: the record is sent by the next page then.
   */
  readonly written: Promise<Written>;
}

/** A record that was refused: the `detail` of a `refused` event. */
export interface RefusedRecord {
  /** The number in the outbox. */
  readonly number: number;
  /** The record, with bytes as key, value and headers. */
  readonly record: NewRecord;
  /** When it was put. */
  readonly since: Date;
  /** Why it was refused. With `unknownOutcome`, it may have been written. */
  readonly error: GateError;
}

/** @internal */
export const checkOutbox = members({
  ...command,
  store: allow('"indexedDB" or "memory"', (value) => value === "indexedDB" || value === "memory"),
  identity: name,
  maxRecords: integer(1),
  maxBytes: integer(1),
  maxAge: integer(1),
});
