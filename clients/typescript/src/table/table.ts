// A table: a Map of the newest value of each key, which follows its log for as long as it is open.

import type { Answer, Connection } from "../connection.ts";
import type { Connections } from "../connections.ts";
import { type Data, toBase64 } from "../data.ts";
import { GateError, type Reason } from "../errors.ts";
import { listen, persist } from "../feed.ts";
import { loopFields } from "../loop.ts";
import { clock, linked, unless } from "../pause.ts";
import type { PlacesOfLog } from "../positions.ts";
import type { TopicRecord } from "../record.ts";
import { Changes, type TableChange } from "./changes.ts";
import type { Stored } from "./database.ts";
import { identityOf, storeName } from "./identity.ts";
import type { TableSettings, TableStatusEvent } from "./options.ts";
import { Rows } from "./rows.ts";
import { Saver } from "./saver.ts";
import type { Source, TableInput } from "./source.ts";

/**
 * The newest value of each key of a topic, or of each subject of a stream: a read-only `Map`, made by {@link Gate.table},
 * that follows its log across lost connections. A key without record, or with a null value, is not in it. Keys are UTF-8;
 * of other bytes, and of a key that begins with `base64:`, the key is `base64:` and their Base64.
 *
 * @typeParam T the type of values.
 * @typeParam R {@link TopicRecord} for topics, {@link StreamMessage} for streams.
 */
export class Table<T = any, R = TopicRecord<T>> implements ReadonlyMap<string, T> {
  readonly #ready: Promise<void>;
  /** Whether {@link Table.ready} was asked for. */
  #isAwaited = false;
  readonly #connections: Connections;
  readonly #source: Source<T, R>;
  readonly #options: TableSettings<TableStatusEvent, T>;
  /** As the store's name has them. */
  readonly #filters: unknown;
  readonly #rows: Rows<T, any>;
  readonly #changes = new Set<Changes<T>>();
  readonly #end: AbortController;
  readonly #signal: AbortSignal;
  #status: Table["status"] = "loading";
  #error: unknown;
  #resolveReady!: () => void;
  #rejectReady!: (error: unknown) => void;
  /** Where the log goes on. Undefined until a snapshot has begun. */
  #places: PlacesOfLog | undefined;
  /** The rows are those of the log up to `places`. */
  #isComplete = false;
  /** The table has been complete once for this identity. */
  #isReady = false;
  /** Of the subscription that is open. */
  #connection: Connection | undefined;
  /** Partitions of this subscription that have not caught up. */
  readonly #behind = new Set<number>();
  /** Other partitions with records in their logs that the table does not have. */
  readonly #late = new Set<number>();
  /** When the table was last known to have all that was in its logs. */
  #alive = 0;
  /** Whose rows these are. A number stands for an unknown user. */
  #identity: string | number | undefined;
  #saver: Saver<any> | undefined;
  #loading: Promise<void> | undefined;
  /** The times that a stored table was read. */
  #loads = 0;

  /** @internal */
  constructor(connections: Connections, source: Source<T, R>, options: TableSettings<any, T>) {
    this.#connections = connections;
    this.#source = source;
    this.#options = options;
    this.#filters = loopFields(options, 0).filters;
    const decode = typeof options.decode === "function" ? options.decode : (data: Data) => data.json();
    this.#rows = new Rows(
      (message) => {
        const value = decode(source.value(message)!);
        if (value instanceof Promise)
          throw new TypeError("table: options.decode: expected a value instead of a promise");
        return value;
      },
      (key, partition, isVisible) => {
        this.#saver?.changed(partition, key);
        if (isVisible) for (const changes of this.#changes) changes.changed(key);
      },
    );
    this.#ready = new Promise((resolve, reject) => {
      this.#resolveReady = resolve;
      this.#rejectReady = reject;
    });
    // Not everybody waits for it.
    this.#ready.catch(() => {});
    this.#end = linked(connections.signal, options.signal);
    this.#signal = this.#end.signal;
    if (this.#signal.aborted) this.#finish();
    else this.#begin();
  }

  /**
   * Resolves when the table has been complete once: with its first snapshot, or as it was stored.
   *
   * @throws GateError if the table ends before, or the reason of `signal` if that was aborted.
   */
  get ready(): Promise<void> {
    this.#isAwaited = true;
    return this.#ready;
  }

  /**
   * Whether the table is up to date: `loading` until it has been complete once; `stale` while it may be behind its log, such
   * as stored entries in a reloaded page, or after the connection was lost; `current` once it has caught up; `closed` after
   * its end. Each change is an event of `onEvent`.
   */
  get status(): "loading" | "stale" | "current" | "closed" {
    return this.#status;
  }

  /** The number of keys. */
  get size(): number {
    return this.#rows.values.size;
  }

  /** The value of a key. */
  get(key: string): T | undefined {
    return this.#rows.values.get(key);
  }

  /** Whether the table has a key. */
  has(key: string): boolean {
    return this.#rows.values.has(key);
  }

  /** The keys, in no particular order. */
  keys(): MapIterator<string> {
    return this.#rows.values.keys();
  }

  /** The values, in the order of {@link Table.keys}. */
  values(): MapIterator<T> {
    return this.#rows.values.values();
  }

  /** The keys with their values. */
  entries(): MapIterator<[string, T]> {
    return this.#rows.values.entries();
  }

  [Symbol.iterator](): MapIterator<[string, T]> {
    return this.entries();
  }

  /** Calls a function for each key. */
  forEach(callback: (value: T, key: string, table: ReadonlyMap<string, T>) => void, thisArg?: unknown): void {
    for (const [key, value] of this) callback.call(thisArg, value, key, this);
  }

  /**
   * The whole record or message of a key, also of a key that is left out because of its value.
   *
   * @example
   * ```ts
   * const since = prices.record("EURUSD")?.timestamp;
   * ```
   */
  record(key: string): R | undefined {
    const row = this.#rows.newest(key);
    return row && this.#source.record(row.partition, row.message);
  }

  /**
   * Changes to loop over. The first one has all keys, and comes when the table is complete, even if it is empty. A slow loop
   * gets the newest change of each key. While the bridge sends another snapshot, changes wait until it is complete. Each
   * call begins anew; `break` ends only this loop.
   *
   * @throws GateError in the loop, if the table ends for a reason that a retry cannot help.
   *
   * @example
   * ```ts
   * for await (const { updated, removed } of prices.changes()) {
   *   for (const [symbol, price] of updated) show(symbol, price);
   *   for (const symbol of removed) hide(symbol);
   * }
   * ```
   */
  changes(): AsyncIterableIterator<TableChange<T>> {
    const changes = new Changes<T>(
      this.#rows.values,
      () => this.#isComplete,
      () => this.#changes.delete(changes),
    );
    if (this.#signal.aborted) changes.end(this.#error);
    else this.#changes.add(changes);
    return changes;
  }

  /**
   * Ends the subscription and the loops over {@link Table.changes}. The table keeps what it has.
   *
   * @example
   * ```ts
   * prices.close();
   * ```
   */
  close(): void {
    this.#end.abort(new GateError("the table is closed", "closed"));
  }

  #begin(): void {
    this.#signal.addEventListener("abort", () => this.#finish());
    this.#connections.offering.add(this.#identify);
    if (this.#options.identity !== undefined || this.#connections.offered) this.#identify();
    persist(this.#signal, (progress) => this.#follow(progress)).catch((error: unknown) => this.#fail(error));
  }

  /** Subscribes on the next connection, and resolves when the subscription has ended. */
  async #follow(progress: () => void): Promise<GateError> {
    const connection = await this.#connections.next(this.#signal);
    await this.#loading;
    this.#signal.throwIfAborted();
    const places = this.#isComplete ? this.#places : undefined;
    this.#places = places;
    const away = clock() - this.#alive;
    // A clock that was set back does not say how long it was.
    const known = places && away >= 0 ? away : undefined;
    let taken = 0;
    const { ended, grant } = listen(connection, this.#signal, this.#source.command(places, known, WINDOW), (answer) => {
      taken += this.#take(answer, connection, progress);
      if (taken < WINDOW / 2) return;
      grant(taken);
      taken = 0;
    });
    const error = await ended;
    this.#keptUp();
    this.#connection = undefined;
    if (!this.#signal.aborted) this.#update();
    const beginsAnew = BEGINS_ANEW.has(error.reason);
    if (beginsAnew) this.#isComplete = false;
    // The bridge names the command of the other messaging system.
    const text = error.message.replace(/gate\.subscribe\((\{ stream|topic)s/, "gate.table($1");
    return new GateError(text, error.reason, { ...error, retriable: error.retriable || beginsAnew });
  }

  /** Returns the credit that the answer has used. */
  #take(answer: Answer, connection: Connection, progress: () => void): number {
    this.#keptUp();
    const input = this.#source.input(answer);
    switch (input?.case) {
      case "subscribed":
        this.#connection = connection;
        this.#subscribed(input);
        break;
      case "delivery":
        progress();
        for (const entry of input.entries) this.#rows.apply(input.partition, entry);
        this.#places?.next.set(input.partition, Number(input.next));
        if (input.next < input.end) this.#late.add(input.partition);
        return input.cost;
      case "snapshotEnd":
        this.#rows.end();
        this.#completed();
        this.#tell({ type: "complete", skipped: input.skipped });
        break;
      case "logStart":
        this.#rows.dropBefore(input.partition, input.offset);
        break;
      case "building":
        this.#source.tell(input.partition, input.event);
        break;
      case "event": {
        const { at, event, next } = input;
        if (next !== undefined) this.#places?.next.set(at.partition, Number(next));
        if (event.type === "caughtUp") for (const set of [this.#behind, this.#late]) set.delete(at.partition);
        if (event.type === "retrying") this.#behind.add(at.partition);
        this.#source.tell(at.partition, event);
      }
    }
    this.#update();
    return 0;
  }

  #subscribed({ snapshot, id: bytes, begins }: TableInput<never> & { case: "subscribed" }): void {
    const id = toBase64(bytes);
    if (snapshot) {
      this.#rows.begin(id);
      this.#isComplete = false;
      this.#places = { id, next: new Map() };
      this.#alive = clock();
      this.#behind.clear();
      this.#late.clear();
    } else if (!this.#places) {
      throw new GateError("the bridge has no tables: expected a newer version", "protocol");
    }
    const { next } = this.#places!;
    for (const { partition, offset } of begins) {
      if (!next.has(partition)) next.set(partition, Number(offset));
      this.#behind.add(partition);
    }
  }

  #completed(): void {
    const isFirst = !this.#isReady;
    this.#isComplete = this.#isReady = true;
    this.#resolveReady();
    for (const changes of this.#changes) changes.wake(isFirst);
  }

  /** Another user gets nothing of what the last one had. Tokens of the same user differ. */
  readonly #identify = (): void => {
    const { identity = identityOf(this.#connections.offered ?? []), store } = this.#options;
    const user = identity ?? this.#connections.reconnects;
    if (user === this.#identity) return;
    if (this.#identity !== undefined) this.#forget();
    this.#identity = user;
    if (store) this.#loading = this.#load(identity);
  };

  #forget(): void {
    this.#saver?.close();
    this.#saver = undefined;
    this.#isComplete = this.#isReady = false;
    this.#rows.clear();
    for (const changes of this.#changes) changes.wake(true);
    this.#update();
  }

  /** Shows the table as it was stored. If that fails, the table does without. */
  async #load(identity: string | undefined): Promise<void> {
    const load = ++this.#loads;
    let opening: Promise<Saver<any>> | undefined;
    try {
      if (identity === undefined) throw new TypeError("table: options.identity is missing: the login has no token");
      opening = Saver.open(storeName(this.#connections, identity, this.#source.name, this.#filters));
      const saver = await unless(undefined, opening, LOAD_WITHIN);
      if (this.#signal.aborted || load !== this.#loads) return saver.close();
      this.#saver = saver;
      if (saver.stored) this.#restore(saver.stored);
      if (this.#signal.aborted) return;
      saver.start(
        () => this.#state(),
        (error) => this.#tell({ type: "storeFailed", error }),
      );
    } catch (error) {
      opening?.then((saver) => saver.close()).catch(() => {});
      this.#tell({ type: "storeFailed", error });
    }
  }

  #restore({ places, alive, rows }: Stored<any>): void {
    this.#rows.begin(places.id);
    try {
      for (const { partition, entry } of rows) this.#rows.apply(partition, entry);
    } catch (error) {
      return this.#fail(error);
    }
    this.#places = places;
    this.#alive = alive;
    this.#completed();
    this.#update();
  }

  /** For the store. Undefined: the table is not complete. */
  #state() {
    if (!this.#isComplete || !this.#places) return undefined;
    const entry = (key: string, partition: number) => {
      const row = this.#rows.row(key, partition);
      return row && { key, message: row.message, offset: row.offset, timestamp: row.timestamp };
    };
    return { places: this.#places, alive: this.#keptUp(), entry };
  }

  /** Returns when the table was last known to have all that was in its logs. */
  #keptUp(): number {
    const isCurrent = this.#isComplete && this.#behind.size + this.#late.size === 0;
    if (this.#connection && isCurrent) this.#alive = this.#connection.heard;
    return this.#alive;
  }

  #update(): void {
    const { aborted } = this.#signal;
    const isCurrent = this.#isComplete && this.#connection && this.#behind.size === 0;
    const status = aborted ? "closed" : !this.#isReady ? "loading" : isCurrent ? "current" : "stale";
    if (status === this.#status) return;
    this.#status = status;
    this.#tell({ type: "status", status, ...(this.#error !== undefined && { error: this.#error }) });
  }

  /** An error of the page's own code ends the table. */
  #tell(event: TableStatusEvent): void {
    try {
      this.#options.onEvent?.(event);
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(error: unknown): void {
    if (this.#signal.aborted) return;
    if (error instanceof GateError && error.reason === "denied") this.#saver?.erase();
    this.#error = error;
    const isHeard = this.#options.onEvent || this.#changes.size || (this.#isAwaited && !this.#isReady);
    if (!isHeard) console.warn(`sluicegate: a table has ended: ${error}`);
    this.#end.abort(error);
  }

  #finish(): void {
    this.#connections.offering.delete(this.#identify);
    this.#saver?.close();
    this.#rejectReady(this.#signal.reason);
    for (const changes of this.#changes) changes.end(this.#error);
    this.#update();
  }
}

/** Bytes that can be on their way. */
const WINDOW = 1024 * 1024;
/** Milliseconds, for some 400,000 rows on two slow cores. */
const LOAD_WITHIN = 15_000;
/** The log is another one, or does not go back as far. */
const BEGINS_ANEW: ReadonlySet<Reason> = new Set<Reason>(["recreated", "offset_out_of_range"]);
