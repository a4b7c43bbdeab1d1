// Outboxes in IndexedDB or in memory: records in the order in which they were put, and a ledger, changed together.

import type { GateError } from "../errors.ts";
import { clock, unless } from "../pause.ts";
import type { NewRecord } from "../record.ts";
import { committed, openDatabase } from "../table/database.ts";

/** @internal A record. Those with a `sequence` may have been sent. */
export interface Item {
  /** Later ones are larger. */
  number: number;
  /** With keys and values as bytes. */
  record: NewRecord;
  bytes: number;
  /** When it was put. */
  since: number;
  /** The partition and the sequence in it, which do not change while the record may be on its way. */
  partition?: number | undefined;
  sequence?: number | undefined;
  /** When it was first sent. */
  sent?: number | undefined;
  refused?: PlainError | undefined;
}

/** @internal A {@link GateError} that can be stored. */
export type PlainError = Pick<GateError, "message" | "reason" | "code" | "unknownOutcome" | "traceId">;

/** @internal What there is besides the records. */
export interface Ledger {
  /** The next record's number. */
  next: number;
  /** The number of changes. */
  version: number;
  waiting: number;
  refused: number;
  bytes: number;
  /** The accounts that partitions keep of this outbox. No copy of the outbox has their ids. */
  accounts: { [partition: number]: { id: string; epoch?: number; next: number } };
  /** The user of the token with which records were sent. */
  person?: string | undefined;
}

/** @internal Records to write, and numbers of those to remove. */
export interface Change {
  put?: Item[];
  remove?: number[];
}

/** @internal */
export interface Store {
  /** The records from a number on. */
  items(from: number): Promise<Item[]>;
  /** Changes the ledger and records in one transaction, which `decide` gets as they are. Resolves with the ledger. */
  change(
    numbers: number[],
    decide: (ledger: Ledger, items: (Item | undefined)[]) => Change | undefined,
  ): Promise<Ledger>;
  close(): void;
}

/** @internal For pages that need no more than what lost connections take. */
export class MemoryStore implements Store {
  readonly #items = new Map<number, Item>();
  readonly #ledger = empty();

  async items(from: number): Promise<Item[]> {
    return [...this.#items.values()].filter(({ number }) => number >= from);
  }

  async change(...[numbers, decide]: Parameters<Store["change"]>): Promise<Ledger> {
    const items = numbers.map((number) => this.#items.get(number));
    const { put = [], remove = [] } = decide(this.#ledger, items) ?? {};
    this.#ledger.version++;
    for (const number of remove) this.#items.delete(number);
    for (const item of put) this.#items.set(item.number, item);
    return this.#ledger;
  }

  close(): void {}
}

/** @internal */
export class DatabaseStore implements Store {
  readonly #name: string;
  #database: Promise<IDBDatabase> | undefined;
  #isClosed = false;

  constructor(name: string) {
    this.#name = name;
  }

  async items(from: number): Promise<Item[]> {
    const [transaction, , records] = await this.#begin("readonly");
    const found = records.getAll(IDBKeyRange.bound([this.#name, from], [this.#name, []]));
    await committed(transaction);
    return found.result;
  }

  async change(...[numbers, decide]: Parameters<Store["change"]>): Promise<Ledger> {
    const [transaction, ledgers, records] = await this.#begin("readwrite");
    const found = numbers.map((number): IDBRequest<Item | undefined> => records.get([this.#name, number]));
    const kept: IDBRequest<Ledger | undefined> = ledgers.get(this.#name);
    let ledger = empty();
    kept.onsuccess = () => {
      ledger = kept.result ?? ledger;
      const items = found.map(({ result }) => result);
      const { put = [], remove = [] } = decide(ledger, items) ?? {};
      ledger.version++;
      for (const number of remove) records.delete([this.#name, number]);
      for (const item of put) records.put(item, [this.#name, item.number]);
      ledgers.put(ledger, this.#name);
    };
    await committed(transaction);
    return ledger;
  }

  close(): void {
    this.#isClosed = true;
    this.#drop();
  }

  #drop(): void {
    this.#database?.then((database) => database.close()).catch(() => {});
    this.#database = undefined;
  }

  async #begin(mode: IDBTransactionMode): Promise<[IDBTransaction, IDBObjectStore, IDBObjectStore]> {
    if (this.#isClosed) throw new Error("the outbox is closed");
    this.#database ??= openDatabase(1, "sluicegate-outbox", STORES);
    try {
      const database = await unless(undefined, this.#database, OPEN_WITHIN);
      // A sequence that the machine forgets would be another record's.
      const transaction = database.transaction(STORES, mode, { durability: "strict" });
      return [
        transaction,
        ...(STORES.map((name) => transaction.objectStore(name)) as [IDBObjectStore, IDBObjectStore]),
      ];
    } catch (error) {
      // The next one opens it again: the user can have removed it.
      this.#drop();
      throw error;
    }
  }
}

function empty(): Ledger {
  // Beyond those of an outbox that the user has removed with the site's data, while a page has it open.
  const next = clock() * 1000;
  return { next, version: next, waiting: 0, refused: 0, bytes: 0, accounts: {} };
}

const STORES = ["ledgers", "records"];
/** Milliseconds: browsers can hang. */
const OPEN_WITHIN = 5000;
