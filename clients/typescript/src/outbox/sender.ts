// Sends an outbox: each partition's records are numbered in their order, which is stored before they are sent, and a command
// is repeated with its numbers until its outcome is known. Only one page does so at a time.

import { GateError, type Reason } from "../errors.ts";
import { clock, jitter, linked, pause, unless } from "../pause.ts";
import { randomId } from "../table/database.ts";
import type { Item, Ledger, Store } from "./store.ts";
import type { Result, Target } from "./topic.ts";

/** @internal */
export interface Watcher {
  changed(ledger: Ledger): void;
  /** Comes again for a record if the page dies before it is removed. */
  settled(outcomes: Outcome[]): void;
  /** Undefined: all partitions are sent to. */
  failed(error: unknown): void;
}

/** @internal Milliseconds. */
export const times = {
  /** After an attempt without an answer, in which it can still arrive: longer than a bridge tries it. */
  settled: 45_000,
  /** After which new records of other pages are looked for, if these did not tell, and those that are too old. */
  look: 30_000,
};

/** @internal */
export type Outcome = [item: Item, result: Result];

/** @internal */
export class Sender {
  readonly #store: Store;
  readonly #target: Target;
  readonly #watcher: Watcher;
  readonly #maxAge: number;
  readonly #end: AbortController;
  readonly #signal: AbortSignal;
  /** Records that have no queue yet, in their order. */
  #incoming: Item[] = [];
  /** Of the next record to read. */
  #next = 0;
  /** By partition. Records with a sequence come first. */
  readonly #queues = new Map<number, Item[]>();
  readonly #running = new Map<number, Promise<void>>();
  /** Records that an earlier command may have written. */
  readonly #tried = new WeakSet<Item>();
  readonly #began = performance.now();
  /** When a command was left without an answer last, by partition; before this page, when it began. */
  readonly #open = new Map<number, number>();
  /** By partition; −1: of placing. */
  readonly #errors = new Map<number, unknown>();
  #ledger: Ledger | undefined;
  #ready: Promise<void> | undefined;
  /** Records in a message. */
  #most = MOST;
  #isDue = true;
  #resume = () => {};

  constructor(store: Store, target: Target, watcher: Watcher, maxAge: number, signal: AbortSignal) {
    this.#store = store;
    this.#target = target;
    this.#watcher = watcher;
    this.#maxAge = maxAge;
    this.#end = linked(signal);
    this.#signal = this.#end.signal;
  }

  /** Sends until the signal is aborted, or the bridge turns out to be too old. */
  async run(): Promise<void> {
    try {
      for (let failures = 0; ; ) {
        try {
          this.#ledger ??= await this.#store.change([], () => undefined);
          for (; this.#isDue || this.#incoming.length; failures = 0) await this.#take();
          this.#failed(PLACING, undefined);
          await pause(this.#signal, times.look, (resume) => {
            this.#resume = resume;
          });
          this.#isDue = true;
        } catch (error) {
          this.#isDue = true;
          await this.#pause(PLACING, error, failures++);
        }
      }
    } catch {
      await Promise.all(this.#running.values());
    }
  }

  /** There are more records. */
  wake(): void {
    this.#isDue = true;
    this.#resume();
  }

  /** Ends sending. */
  stop(error: unknown): void {
    this.#watcher.failed(error);
    this.#end.abort(error);
  }

  /** Reads records that are new, and gives them to their partitions. */
  async #take(): Promise<void> {
    this.#isDue = false;
    const found = await this.#store.items(this.#next);
    this.#next = (found.at(-1)?.number ?? this.#next - 1) + 1;
    for (const item of found) if (!item.refused) this.#incoming.push(item);
    if (!this.#incoming.length) return;
    await this.#connect(this.#incoming);
    const batch = this.#batch(this.#incoming, () => true);
    const refused = await this.#place(
      batch.filter(({ partition, record }) => (partition ?? record.partition) === undefined),
    );
    if (!refused) return;
    this.#incoming.splice(0, batch.length);
    for (const item of batch) {
      item.partition ??= item.record.partition;
      const { partition } = item;
      if (partition === undefined) continue;
      if (item.sequence !== undefined) this.#tried.add(item);
      const queue = this.#queues.get(partition) ?? [];
      this.#queues.set(partition, queue);
      queue.push(item);
      if (!this.#running.has(partition)) this.#running.set(partition, this.#drain(partition, queue));
    }
  }

  /** False if there were too many at once. */
  async #place(items: Item[]): Promise<boolean> {
    if (!items.length) return true;
    const records = items.map(({ record }) => record);
    const results = await this.#target.place(records, this.#ledger?.person, this.#signal);
    if (this.#isHalved(results, "too_large")) return false;
    const retriable = results.find((result) => isError(result) && !isFinal(result));
    if (retriable) throw retriable;
    const settled: Outcome[] = [];
    for (const [index, item] of items.entries()) {
      const result = results[index]!;
      if (typeof result === "number") item.partition = result;
      else settled.push([item, result]);
    }
    await this.#settle(settled, []);
    if (settled.some(([, result]) => !isError(result))) this.stop(TOO_OLD);
    return true;
  }

  /** Sends the records of a partition until there is none. */
  async #drain(partition: number, queue: Item[]): Promise<void> {
    try {
      for (let failures = 0; queue.length; ) {
        try {
          this.#signal.throwIfAborted();
          await this.#step(partition, queue);
          failures = 0;
          this.#failed(partition, undefined);
        } catch (error) {
          await this.#pause(partition, error, failures++);
        }
      }
    } catch {
      // The end.
    }
    this.#running.delete(partition);
  }

  /** Sends one command. */
  async #step(partition: number, queue: Item[]): Promise<void> {
    await this.#connect(queue);
    if (queue[0] && queue[0].sequence === undefined) await this.#number(partition, queue);
    this.#signal.throwIfAborted();
    const [first] = queue;
    const sequence = first?.sequence;
    const account = this.#ledger?.accounts[partition];
    if (sequence === undefined) return;
    // The user has removed the site's data, and the records with the account.
    if (!account) return drop(queue, new Set(queue.filter((item) => item.sequence !== undefined)));
    const batch = this.#batch(queue, (item, index) => item.sequence === sequence + index);
    const isTried = batch.some((item) => this.#tried.has(item));
    const producer = { id: account.id, epoch: account.epoch ?? 0, sequence, age: isTried ? ageOf(first?.sent) : 0 };
    const records = batch.map(({ record }) => ({ ...record, partition }));
    const results = await this.#target.write(records, producer, this.#ledger?.person, this.#signal);
    if (this.#isHalved(results, "too_large", "invalid_record")) return;
    const outcomes = batch.map((item, index): Outcome => [item, results[index]!]);
    await this.#decide(partition, queue, outcomes, isTried, {
      partition,
      id: account.id,
      epoch: account.epoch,
      next: sequence,
    });
  }

  /** Does what the results of a command say. `again` lets other records have the sequences of those that are not written. */
  async #decide(
    partition: number,
    queue: Item[],
    outcomes: Outcome[],
    isTried: boolean,
    again: Restart,
  ): Promise<void> {
    const anew = { partition, id: randomId(), next: 0 };
    const written = outcomes.filter(([, result]) => !isError(result));
    // A record that was never sent before is no duplicate: a copy of this outbox has written another one with its sequence.
    const own = written.filter(
      ([item, result]) => this.#tried.has(item) || !("duplicate" in result && result.duplicate),
    );
    const isCopied = own.length < written.length;
    if (own.length) this.#most = Math.min(MOST, this.#most + 1);
    // Also those that are written: the store can fail, and then they are sent again.
    for (const [item] of own) this.#tried.add(item);
    for (const [item, result] of outcomes) {
      if (!isError(result) || !result.unknownOutcome) continue;
      isTried = true;
      this.#tried.add(item);
      this.#open.set(partition, performance.now());
    }
    await this.#settle(own, queue, isCopied ? anew : undefined);
    if (written.some(([, result]) => !("duplicateWindowMs" in result && result.duplicateWindowMs)))
      return this.stop(TOO_OLD);
    if (isCopied) throw new GateError("another copy of the outbox writes to the partition", "fenced");
    const refused = outcomes.filter(([, result]) => isError(result) && isFinal(result));
    if (refused.length) {
      // An earlier command may have written all: the others tell with their own sequences.
      if (!isTried) return this.#settle(refused, queue, again);
      return this.#settle(
        refused.map(([item, error]) => [item, doubtful(error as GateError)]),
        queue,
      );
    }
    const error = outcomes.map(([, result]) => result).find(isError);
    if (!error) return;
    const { reason, producer } = error;
    if (OF_ACCOUNT.has(reason) && reason !== "fenced" && producer) {
      // None is written. An earlier command can still arrive for a while, and then takes its sequences. The next epoch ends
      // all of this one.
      const open = this.#open.get(partition) ?? this.#began;
      if (!isTried || performance.now() - open >= times.settled)
        await this.#settle([], queue, { ...again, epoch: (again.epoch ?? 0) + 1, next: 0 });
    } else if (OF_ACCOUNT.has(reason)) {
      const unknown = queue.filter((item) => item.sequence !== undefined && this.#tried.has(item));
      await this.#settle(
        unknown.map((item) => [item, doubtful(error)]),
        queue,
        anew,
      );
    } else if (!isTried) await this.#settle([], queue, again);
    throw error;
  }

  /** Waits for a connection, for a while, and refuses records that have waited for too long. */
  async #connect(queue: Item[]): Promise<void> {
    this.#ready ??= this.#target.ready(this.#signal).finally(() => {
      this.#ready = undefined;
    });
    try {
      await unless(this.#signal, this.#ready, times.look, OFFLINE);
    } finally {
      const late = new GateError(`the record has waited for more than ${this.#maxAge} ms (maxAge)`, "expired");
      // As `since`, by the clock of all pages.
      const old = queue.filter(({ since, sequence }) => sequence === undefined && Date.now() - since > this.#maxAge);
      await this.#settle(
        old.map((item) => [item, late]),
        queue,
      );
    }
  }

  /** Gives the next records their sequences. */
  async #number(partition: number, queue: Item[]): Promise<void> {
    const now = clock();
    const batch = this.#batch(queue, () => true);
    const { person } = this.#target;
    const gone = new Set<Item>();
    let numbered: Item[] = [];
    await this.#change(batch, (ledger, items) => {
      ledger.person ??= person;
      let account = ledger.accounts[partition];
      if (!account || account.next > LAST_SEQUENCE) account = ledger.accounts[partition] = { id: randomId(), next: 0 };
      const { accounts } = ledger;
      numbered = [];
      for (const [index, item] of items.entries()) {
        if (!item) gone.add(batch[index]!);
        else numbered.push({ ...item, partition, sequence: accounts[partition]!.next++, sent: now });
      }
      return { put: numbered };
    });
    drop(queue, gone);
    for (const [index, { sequence, sent }] of numbered.entries()) Object.assign(queue[index]!, { sequence, sent });
  }

  /**
   * Removes records that are written, and sets those aside that are refused. With `restart`, the others lose their
   * sequences, and those to come begin there.
   */
  async #settle(outcomes: Outcome[], queue: Item[], restart?: Restart): Promise<void> {
    if (!outcomes.length && !restart) return;
    const results = new Map(outcomes);
    const others = restart ? queue.filter((item) => item.sequence !== undefined && !results.has(item)) : [];
    // First, so that nobody waits for a record that is not there any more.
    const written = outcomes.filter(([, result]) => !isError(result));
    if (written.length) this.#watcher.settled(written);
    const batch = [...results.keys(), ...others];
    await this.#change(batch, (ledger, items) => {
      const put: Item[] = [];
      const remove: number[] = [];
      for (const [index, item] of items.entries()) {
        if (!item) continue;
        const { sequence: _, sent: __, ...unnumbered } = item;
        const result = results.get(batch[index]!);
        if (result) ledger.waiting--;
        if (result && isError(result)) {
          ledger.refused++;
          const { message, reason, code, unknownOutcome, traceId } = result;
          put.push({ ...unnumbered, refused: { message, reason, code, unknownOutcome, traceId } });
        } else if (result) {
          ledger.bytes -= item.bytes;
          remove.push(item.number);
        } else put.push(unnumbered);
      }
      if (restart) ledger.accounts[restart.partition] = { id: restart.id, epoch: restart.epoch, next: restart.next };
      return { put, remove };
    });
    for (const item of others) {
      item.sequence = item.sent = undefined;
      this.#tried.delete(item);
    }
    drop(queue, new Set(results.keys()));
    const refused = outcomes.filter(([, result]) => isError(result));
    if (refused.length) this.#watcher.settled(refused);
  }

  async #change(items: Item[], decide: Parameters<Store["change"]>[1]): Promise<void> {
    this.#ledger = await this.#store.change(
      items.map(({ number }) => number),
      decide,
    );
    this.#watcher.changed(this.#ledger);
  }

  /** The first records that fit into a message, and belong together. */
  #batch(items: Item[], belongs: (item: Item, index: number) => boolean): Item[] {
    let bytes = 0;
    const end = items.findIndex((item, index) => {
      bytes += item.bytes;
      return index > 0 && (index >= this.#most || bytes > MOST_BYTES || !belongs(item, index));
    });
    return items.slice(0, end < 0 ? undefined : end);
  }

  /** Whether all records were refused, perhaps for their size together or one of them: the next message has half of them. */
  #isHalved(results: (number | Result)[], ...reasons: Reason[]): boolean {
    if (results.length < 2 || !results.every((result) => isError(result) && reasons.includes(result.reason)))
      return false;
    this.#most = Math.ceil(results.length / 2);
    return true;
  }

  async #pause(partition: number, error: unknown, failures: number): Promise<void> {
    this.#signal.throwIfAborted();
    if (error === OFFLINE) return;
    this.#failed(partition, error);
    await pause(this.#signal, Math.max((error as GateError | null)?.retryAfter ?? 0, jitter(failures)));
  }

  #failed(partition: number, error: unknown): void {
    if (this.#signal.aborted) return;
    if (error === undefined) this.#errors.delete(partition);
    else this.#errors.set(partition, error);
    const [first] = this.#errors.values();
    this.#watcher.failed(first);
  }
}

/** Where a partition's records are numbered from. */
interface Restart {
  partition: number;
  id: string;
  epoch?: number;
  next: number;
}

function isError(result: unknown): result is GateError {
  return typeof result === "object" && result !== null && "reason" in result;
}

/** Whether a repeat does not help. */
function isFinal({ reason, retriable, unknownOutcome }: GateError): boolean {
  return !retriable && !unknownOutcome && !OF_ACCOUNT.has(reason) && !PASSING.has(reason);
}

function doubtful(error: GateError): GateError {
  return new GateError(`${error.message}; an earlier attempt may have written the record`, error.reason, {
    ...error,
    unknownOutcome: true,
  });
}

/** Milliseconds since a record was first sent, at least 1. A clock that was set back does not say. */
function ageOf(sent = 0): number {
  const age = clock() - sent;
  return age < -CLOCKS_DIFFER ? AGES : Math.max(1, age);
}

function drop(queue: Item[], gone: ReadonlySet<Item>): void {
  if (!gone.size) return;
  const left = queue.filter((item) => !gone.has(item));
  queue.splice(0, queue.length, ...left);
}

const PLACING = -1;
/** What the partition says of the sequence, not of the record. */
const OF_ACCOUNT: ReadonlySet<Reason> = new Set<Reason>(["out_of_order", "fenced", "expired"]);
const PASSING: ReadonlySet<Reason> = new Set<Reason>(["transient", "queue_full", "unreachable", "quota_exceeded"]);
/** Records in a message. */
const MOST = 100;
/** Bytes. */
const MOST_BYTES = 512 * 1024;
const LAST_SEQUENCE = 2 ** 31 - 2 - 2 * MOST;
const TOO_OLD = new GateError("the bridge is too old for outboxes: nothing more is sent", "protocol");
const OFFLINE = new GateError("not connected yet", "disconnected");
/** Milliseconds. */
const CLOCKS_DIFFER = 60_000;
/** Milliseconds: longer than Kafka keeps an account. */
const AGES = 365 * 24 * 60 * 60 * 1000;
