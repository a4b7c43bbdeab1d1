// Tables in IndexedDB: a state and the places it belongs to are written in one transaction, by the page that claimed it
// last.

import type { PlacesOfLog } from "../positions.ts";
import type { SourceEntry } from "./source.ts";

/** @internal A stored table. */
export interface Stored<M> {
  places: PlacesOfLog;
  /** When the table was last known to have all that was in its logs. */
  alive: number;
  rows: StoredRow<M>[];
}

/** @internal */
export interface StoredRow<M> {
  partition: number;
  entry: SourceEntry<M>;
}

/** @internal Changes of a stored table since the last ones. */
export interface Batch<M> extends Omit<Stored<M>, "rows"> {
  /** A row without entry is removed. */
  rows: { partition: number; key: string; entry: SourceEntry<M> | undefined }[];
}

/** A record of the store `tables`. `places` and `alive` are missing until the table has been complete once. */
interface Claimed extends Partial<Pick<Stored<never>, "places" | "alive">> {
  owner: string;
  /** The first part of its rows' keys. */
  id: string;
}

/** @internal Opens a database of this origin, by default that of tables in the version that it has. */
export function openDatabase(version?: number, name = "sluicegate", stores = STORES): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    if (!globalThis.indexedDB) throw new Error("this runtime has no IndexedDB");
    const request = indexedDB.open(name, version);
    request.onupgradeneeded = () => {
      for (const store of stores) request.result.createObjectStore(store);
    };
    request.onerror = () => reject(request.error);
    request.onsuccess = () => {
      const database = request.result;
      // A newer version of the client, or someone who deletes it, would wait for this page.
      database.onversionchange = () => database.close();
      resolve(database);
    };
  });
}

/**
 * @internal Reads a table, and lets nobody but this `owner` write it from now on. Removes tables that nobody has opened for
 * long: those of other filters, or of users who do not come back.
 */
export async function claim<M>(database: IDBDatabase, name: string, owner: string): Promise<Stored<M> | undefined> {
  const { transaction, tables, rows } = begin(database);
  const every = tables.openCursor();
  every.onsuccess = () => {
    const cursor = every.result;
    if (!cursor) return;
    const { id, alive = Date.now() } = cursor.value as Claimed;
    if (cursor.key !== name && Date.now() - alive > KEPT_FOR) {
      cursor.delete();
      rows.delete(keysOf(id));
    }
    cursor.continue();
  };
  const found: IDBRequest<Claimed | undefined> = tables.get(name);
  let all: IDBRequest<StoredRow<M>[]> | undefined;
  found.onsuccess = () => {
    const { id, ...rest } = found.result ?? { id: randomId() };
    tables.put({ ...rest, id, owner }, name);
    all = rows.getAll(keysOf(id));
  };
  await committed(transaction);
  const { places, alive } = found.result ?? {};
  return places && alive !== undefined && all ? { places, alive, rows: all.result } : undefined;
}

/**
 * @internal Writes what `take` returns when the transaction begins. Returns false if another page has claimed the table, or
 * it was cleared.
 */
export async function write<M>(
  database: IDBDatabase,
  name: string,
  owner: string,
  take: () => Batch<M> | undefined,
): Promise<boolean> {
  const { transaction, tables, rows } = begin(database);
  const found: IDBRequest<Claimed | undefined> = tables.get(name);
  found.onsuccess = () => {
    const table = found.result;
    const batch = table?.owner === owner && take();
    if (!table || !batch) return;
    for (const { partition, key, entry } of batch.rows) {
      const at = [table.id, partition, key];
      if (entry) rows.put({ partition, entry }, at);
      else rows.delete(at);
    }
    tables.put({ ...table, places: batch.places, alive: batch.alive }, name);
  };
  await committed(transaction);
  return found.result?.owner === owner;
}

/** @internal Removes a table, unless another page has claimed it. */
export async function remove(database: IDBDatabase, name: string, owner: string): Promise<void> {
  const { transaction, tables, rows } = begin(database);
  const found: IDBRequest<Claimed | undefined> = tables.get(name);
  found.onsuccess = () => {
    if (found.result?.owner !== owner) return;
    tables.delete(name);
    rows.delete(keysOf(found.result.id));
  };
  await committed(transaction);
}

/** @internal Removes all tables of this origin. Pages that have claimed one write nothing more. */
export async function clear(): Promise<void> {
  if (!globalThis.indexedDB) return;
  // Also of a newer version of the client.
  const database = await openDatabase();
  const stores = [...database.objectStoreNames];
  const transaction = database.transaction(stores, "readwrite");
  for (const store of stores) transaction.objectStore(store).clear();
  await committed(transaction).finally(() => database.close());
}

/** @internal Two pages never have the same one. */
export function randomId(): string {
  return crypto.getRandomValues(new Uint32Array(4)).join("-");
}

function begin(database: IDBDatabase) {
  const transaction = database.transaction(STORES, "readwrite");
  const [tables, rows] = STORES.map((store) => transaction.objectStore(store)) as [IDBObjectStore, IDBObjectStore];
  return { transaction, tables, rows };
}

/** The keys of a table's rows. */
function keysOf(id: string): IDBKeyRange {
  return IDBKeyRange.bound([id], [id, []]);
}

/** @internal Resolves when the transaction is. */
export function committed(transaction: IDBTransaction): Promise<void> {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onabort = () => reject(transaction.error);
  });
}

/** @internal Of the database, as this client writes it. */
export const VERSION = 1;
const STORES = ["tables", "rows"];
/** Milliseconds: 30 days. */
const KEPT_FOR = 30 * 24 * 60 * 60 * 1000;
