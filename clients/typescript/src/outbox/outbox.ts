// An outbox: records that are kept until Kafka has them.

import { GateError } from "../errors.ts";
import type { Gate } from "../gate.ts";
import { unless } from "../pause.ts";
import { type NewRecord, newRecord, type Written } from "../record.ts";
import { identityOf, storeName } from "../table/identity.ts";
import type { OutboxOptions, OutboxStatus, RefusedRecord, StoredRecord } from "./options.ts";
import { type Outcome, Sender } from "./sender.ts";
import { DatabaseStore, type Item, type Ledger, MemoryStore, type PlainError, type Store } from "./store.ts";
import { TopicTarget } from "./topic.ts";

/**
 * Records on their way to a topic, made by {@link openOutbox}. They are kept on this device until Kafka has them: offline,
 * across reloads, and whichever bridge answers, each is written once, and those with the same key in their order. It
 * dispatches `state` events, whose `detail` is an {@link OutboxStatus}, and `refused` events with a {@link RefusedRecord}.
 */
export class Outbox extends EventTarget {
  readonly #gate: Gate;
  readonly #topic: string;
  readonly #options: OutboxOptions;
  readonly #end = new AbortController();
  readonly #signal = this.#end.signal;
  #opened: Promise<Store> | undefined;
  #channel: BroadcastChannel | undefined;
  #sender: Sender | undefined;
  #state: OutboxStatus = { waiting: 0, refused: 0, bytes: 0, error: undefined };
  /** Of the ledger that {@link Outbox.state} is of. */
  #version = -1;
  /** Records that this page has put, and that are not settled. */
  readonly #pending = new Map<number, Pending>();
  /** Records to be stored, all at once. */
  #puts: Put[] = [];

  /** @internal */
  constructor(gate: Gate, topic: string, options: OutboxOptions) {
    super();
    this.#gate = gate;
    this.#topic = topic;
    this.#options = options;
    for (const signal of [gate.connections.signal, options.signal]) {
      if (signal?.aborted) this.close();
      signal?.addEventListener("abort", () => this.close(), { signal: this.#signal });
    }
    if (!this.#signal.aborted) this.#store().catch(() => {});
  }

  /**
   * Calls `listener` whenever {@link Outbox.state} has changed, or for each record that is refused, in any page.
   *
   * @example
   * ```ts
   * outbox.addEventListener("refused", ({ detail }) => console.warn(detail.error.message));
   * ```
   */
  override addEventListener(
    type: "state",
    listener: (event: CustomEvent<OutboxStatus>) => void,
    options?: Parameters<EventTarget["addEventListener"]>[2],
  ): void;
  /** For refused records. */
  override addEventListener(
    type: "refused",
    listener: (event: CustomEvent<RefusedRecord>) => void,
    options?: Parameters<EventTarget["addEventListener"]>[2],
  ): void;
  /** As of any `EventTarget`. */
  override addEventListener(...args: Parameters<EventTarget["addEventListener"]>): void;
  override addEventListener(...args: any): void {
    super.addEventListener(...(args as Parameters<EventTarget["addEventListener"]>));
  }

  /** The `detail` of the last `state` event. */
  get state(): OutboxStatus {
    return this.#state;
  }

  /**
   * Puts a record, and resolves when it is stored on this device. Its `written` resolves when Kafka has it. Its timestamp is
   * the time at which it is written: put another time into the value, or a header.
   *
   * @throws {@link GateError} with `reason` `queue_full` if the outbox is full, and `storage` if the browser does not store
   * it, for example because the disk is full.
   *
   * @example
   * ```ts
   * const { written } = await outbox.put({ key: "42", value: { id: 42, state: "paid" } });
   * const { partition, offset } = await written;
   * ```
   */
  async put(record: Omit<NewRecord, "timestamp">): Promise<StoredRecord> {
    if ("timestamp" in Object(record))
      throw new TypeError("put: record.timestamp: expected none, because old ones are refused");
    const { key, value, headers } = newRecord(this.#topic, record, "put: record");
    const content: NewRecord = {
      ...record,
      key: key?.slice() ?? null,
      value: value?.slice() ?? null,
      headers: headers.map(({ key, value }) => ({ key: key!, value: value?.slice() ?? null })),
    };
    const sizes = headers.map(({ key, value }) => key!.length + (value?.length ?? 0));
    const bytes = sizes.reduce((sum, size) => sum + size, (key?.length ?? 0) + (value?.length ?? 0));
    return new Promise((resolve, reject) => {
      this.#puts.push({ record: content, bytes, resolve, reject });
      if (this.#puts.length === 1) void this.#write();
    });
  }

  /** The records that were refused, in the order in which they were put. They stay until a `retry` or `discard`. */
  async refused(): Promise<RefusedRecord[]> {
    const items = await (await this.#store()).items(0);
    return items.flatMap((item) => (item.refused ? [refusedRecord(item, item.refused)] : []));
  }

  /**
   * Puts refused records again, behind all others. Those whose error has `unknownOutcome` may be in Kafka already.
   *
   * @param numbers by default, of all that were refused.
   */
  async retry(numbers?: number[]): Promise<void> {
    await this.#change(
      numbers,
      ({ refused }) => !!refused,
      (ledger, { record, bytes }) => {
        ledger.waiting++;
        ledger.bytes += bytes;
        return { number: ledger.next++, record, bytes, since: Date.now() };
      },
    );
  }

  /**
   * Removes refused records.
   *
   * @param numbers by default, of all that were refused.
   */
  async discard(numbers?: number[]): Promise<void> {
    await this.#change(numbers, ({ refused }) => !!refused);
  }

  /** Removes all records, for example at a logout, before `close`. Those that are on their way may still be written. */
  async clear(): Promise<void> {
    const removed = await this.#change(undefined, () => true);
    this.#tell({ settled: removed.map(({ number }) => [number, plain(new GateError(CLEARED, "closed"))]) });
  }

  /** Stops sending. The records stay, for the next page that opens the outbox. */
  close(): void {
    if (this.#signal.aborted) return;
    const error = new GateError("the outbox is closed", "closed");
    this.#end.abort(error);
    for (const { reject } of this.#pending.values()) reject(error);
    this.#pending.clear();
    this.#channel?.close();
    void this.#opened?.then((store) => store.close()).catch(() => {});
  }

  /** Stores what was put since the last time, in one transaction. */
  async #write(): Promise<void> {
    while (this.#puts.length) {
      let puts: Put[] = [];
      try {
        const store = await this.#store();
        const full: Put[] = [];
        const stored = new Map<Put, StoredRecord>();
        puts = [...this.#puts];
        const ledger = await store.change([], (ledger) => {
          const put: Item[] = [];
          for (const one of puts) {
            const { record, bytes } = one;
            if (this.#isFull(ledger, bytes)) full.push(one);
            else {
              const number = ledger.next++;
              ledger.waiting++;
              ledger.bytes += bytes;
              put.push({ number, record, bytes, since: Date.now() });
              stored.set(one, { number, written: this.#await(number) });
            }
          }
          return { put };
        });
        this.#changed(ledger, true);
        for (const [{ resolve }, record] of stored) resolve(record);
        for (const { reject } of full) reject(this.#full(ledger));
      } catch (error) {
        puts = puts.length ? puts : [...this.#puts];
        const failed =
          error instanceof GateError || error instanceof TypeError
            ? error
            : new GateError(
                `the record was not stored: ${(error as Error | null)?.message ?? "the disk can be full"}`,
                "storage",
              );
        for (const { reject } of puts) reject(failed);
      }
      this.#puts.splice(0, puts.length);
    }
  }

  #await(number: number): Promise<Written> {
    const written = new Promise<Written>((resolve, reject) => {
      this.#pending.set(number, { resolve, reject });
    });
    // Not everybody waits for it.
    written.catch(() => {});
    return written;
  }

  #isFull({ waiting, refused, bytes }: Ledger, more: number): boolean {
    const { maxRecords = MAX_RECORDS, maxBytes = MAX_BYTES } = this.#options;
    return waiting + refused >= maxRecords || bytes + more > maxBytes;
  }

  #full({ waiting, refused, bytes }: Ledger): GateError {
    const { maxRecords = MAX_RECORDS, maxBytes = MAX_BYTES } = this.#options;
    const has = `${waiting} records wait, ${refused} were refused, ${bytes} bytes in all`;
    return new GateError(`the outbox is full: ${has}, of at most ${maxRecords} and ${maxBytes}`, "queue_full");
  }

  /** Removes records, and puts others in their place. */
  async #change(
    numbers: number[] | undefined,
    matches: (item: Item) => boolean,
    replace?: (ledger: Ledger, item: Item) => Item,
  ): Promise<Item[]> {
    const store = await this.#store();
    const all = numbers ?? (await store.items(0)).filter(matches).map(({ number }) => number);
    let removed: Item[] = [];
    const ledger = await store.change(all, (ledger, items) => {
      removed = items.filter((item) => item !== undefined).filter(matches);
      for (const { refused, bytes } of removed) {
        ledger[refused ? "refused" : "waiting"]--;
        ledger.bytes -= bytes;
      }
      return {
        remove: removed.map(({ number }) => number),
        put: replace && removed.map((item) => replace(ledger, item)),
      };
    });
    this.#changed(ledger, true);
    return removed;
  }

  async #store(): Promise<Store> {
    this.#signal.throwIfAborted();
    this.#opened ??= this.#open().catch((error) => {
      this.#opened = undefined;
      throw error;
    });
    return this.#opened;
  }

  async #open(): Promise<Store> {
    const { store: kind, identity } = this.#options;
    if (kind === "memory") {
      const store = new MemoryStore();
      void this.#send(store);
      return store;
    }
    if (!globalThis.navigator?.locks || !globalThis.indexedDB) throw new GateError(NO_STORE, "storage");
    const name = storeName(this.#gate.connections, identity ?? (await this.#identify()), this.#topic);
    this.#signal.throwIfAborted();
    const store = new DatabaseStore(name);
    this.#channel = new BroadcastChannel(`sluicegate-outbox ${name}`);
    this.#channel.onmessage = ({ data }) => this.#hear(data);
    navigator.locks
      .request(this.#channel.name, { signal: this.#signal }, () => this.#send(store))
      .catch((error) => {
        // Stolen by another script, it can be another page's now.
        this.#sender?.stop(error);
        this.#failed(error);
      });
    void store
      .change([], () => undefined)
      .then(
        (ledger) => this.#changed(ledger),
        (error) => this.#failed(error),
      );
    return store;
  }

  async #identify(): Promise<string> {
    const { connections } = this.#gate;
    if (!connections.offered) await unless(this.#signal, connections.next(this.#signal), IDENTIFIED_WITHIN, LATE);
    const identity = identityOf(connections.offered ?? []);
    if (identity === undefined) throw new TypeError("openOutbox: options.identity is missing: the login has no token");
    return identity;
  }

  async #send(store: Store): Promise<void> {
    const watcher = {
      changed: (ledger: Ledger) => this.#changed(ledger),
      settled: (outcomes: Outcome[]) =>
        this.#tell({
          settled: outcomes.map(([{ number }, result]) => [number, "reason" in result ? plain(result) : result]),
          refused: outcomes.flatMap(([item, result]) =>
            "reason" in result ? [{ ...item, refused: plain(result) }] : [],
          ),
        }),
      failed: (error: unknown) => this.#failed(error),
    };
    const target = new TopicTarget(this.#gate, this.#topic);
    this.#sender = new Sender(store, target, watcher, this.#options.maxAge ?? MAX_AGE, this.#signal);
    await this.#sender.run();
    this.#sender = undefined;
  }

  #changed({ version, waiting, refused, bytes }: Ledger, isPut = false): void {
    this.#tell({ state: { version, waiting, refused, bytes }, isPut });
  }

  #failed(error: unknown): void {
    // Whether there is a connection is the client's status.
    const isTold = error instanceof Error && (error as GateError).reason !== "disconnected";
    const failed = isTold ? plain(error as GateError) : null;
    if (failed?.message !== this.#state.error?.message) this.#tell({ error: failed });
  }

  /** Tells this page and the others. */
  #tell(message: Message): void {
    if (this.#signal.aborted) return;
    this.#channel?.postMessage(message);
    this.#hear(message);
  }

  #hear({ state, isPut, settled = [], refused = [], error }: Message): void {
    for (const [number, result] of settled) {
      const pending = this.#pending.get(number);
      this.#pending.delete(number);
      if ("reason" in result) pending?.reject(gateError(result));
      else pending?.resolve(result);
    }
    if (state && state.version > this.#version) {
      const { version, ...counts } = state;
      this.#version = version;
      this.#show({ ...this.#state, ...counts });
    }
    if (error !== undefined) this.#show({ ...this.#state, error: error ? gateError(error) : undefined });
    for (const item of refused) {
      this.dispatchEvent(new CustomEvent("refused", { detail: refusedRecord(item, item.refused!) }));
    }
    if (isPut) this.#sender?.wake();
  }

  #show(state: OutboxStatus): void {
    this.#state = state;
    this.dispatchEvent(new CustomEvent("state", { detail: state }));
  }
}

/** A message from page to page. */
interface Message {
  state?: Pick<Ledger, "version" | "waiting" | "refused" | "bytes">;
  /** Whether there are more records to send. */
  isPut?: boolean;
  settled?: [number: number, result: Written | PlainError][];
  refused?: Item[];
  /** Null: the last one is over. */
  error?: PlainError | null;
}

interface Pending {
  resolve: (written: Written) => void;
  reject: (error: GateError) => void;
}

interface Put {
  record: NewRecord;
  bytes: number;
  resolve: (stored: StoredRecord) => void;
  reject: (error: unknown) => void;
}

function plain({ message, reason = "storage", code = 0, unknownOutcome = false, traceId = "" }: GateError): PlainError {
  return { message, reason, code, unknownOutcome, traceId };
}

function gateError(error: PlainError): GateError {
  return new GateError(error.message, error.reason, error);
}

function refusedRecord({ number, record, since }: Item, refused: PlainError): RefusedRecord {
  return { number, record, since: new Date(since), error: gateError(refused) };
}

const MAX_RECORDS = 10_000;
const MAX_BYTES = 16 * 1024 * 1024;
/** Milliseconds: 7 days. */
const MAX_AGE = 7 * 24 * 60 * 60 * 1000;
/** Milliseconds. */
const IDENTIFIED_WITHIN = 10_000;
const LATE = new GateError(
  `not stored: no connection within ${IDENTIFIED_WITHIN} ms tells the user: name them with options.identity`,
  "disconnected",
);
const NO_STORE = "not stored: expected IndexedDB and Web Locks, in a page that is served over https or from localhost";
const CLEARED = "the outbox was cleared";
