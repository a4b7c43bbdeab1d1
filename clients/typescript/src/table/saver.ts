// Writes a table to its store, in batches.

import { unless } from "../pause.ts";
import { type Batch, claim, openDatabase, randomId, remove, type Stored, VERSION, write } from "./database.ts";
import type { SourceEntry } from "./source.ts";

/** @internal A stored table that this page has claimed. */
export class Saver<M> {
  /** The table as it was stored, until {@link start}. Undefined: it was not. */
  stored: Stored<M> | undefined;
  readonly #database: IDBDatabase;
  readonly #name: string;
  readonly #owner: string;
  readonly #changed = new Map<string, { partition: number; key: string }>();
  #timer: ReturnType<typeof setInterval> | undefined;
  #isWriting = false;
  #written = 0;

  /** Claims a table, and reads it. */
  static async open<M>(name: string): Promise<Saver<M>> {
    const opening = openDatabase(VERSION);
    const database = await unless(undefined, opening, OPEN_WITHIN).catch((error) => {
      opening.then((late) => late.close()).catch(() => {});
      throw error;
    });
    try {
      const owner = randomId();
      return new Saver<M>(database, name, owner, await claim(database, name, owner));
    } catch (error) {
      database.close();
      throw error;
    }
  }

  private constructor(database: IDBDatabase, name: string, owner: string, stored: Stored<M> | undefined) {
    this.#database = database;
    this.#name = name;
    this.#owner = owner;
    this.stored = stored;
  }

  /** Writes what changes from now on, until {@link close} or `failed`. */
  start(state: State<M>, failed: (error: unknown) => void): void {
    this.#written = this.stored ? Date.now() : 0;
    this.stored = undefined;
    this.#timer = setInterval(() => {
      const isDue = this.#changed.size > 0 || Date.now() - this.#written > IDLE;
      if (isDue && !this.#isWriting && state()) this.#write(state).catch(failed);
    }, SAVE_EVERY);
  }

  changed(partition: number, key: string): void {
    if (this.#timer !== undefined) this.#changed.set(`${partition} ${key}`, { partition, key });
  }

  /** Removes the stored table, and writes nothing more. */
  erase(): void {
    remove(this.#database, this.#name, this.#owner).catch(() => {});
    this.close();
  }

  /** Writes nothing more. */
  close(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#database.close();
  }

  async #write(state: State<M>): Promise<void> {
    this.#isWriting = true;
    try {
      const isOwner = await write(this.#database, this.#name, this.#owner, () => this.#take(state));
      this.#written = Date.now();
      if (!isOwner) this.close();
    } catch (error) {
      // The page may have closed it in the meantime.
      if (this.#timer === undefined) return;
      this.close();
      throw error;
    } finally {
      this.#isWriting = false;
    }
  }

  #take(state: State<M>): Batch<M> | undefined {
    const now = this.#timer === undefined ? undefined : state();
    if (!now) return undefined;
    const { places, alive, entry } = now;
    const rows = [...this.#changed.values()].map((row) => ({ ...row, entry: entry(row.key, row.partition) }));
    this.#changed.clear();
    return { places, alive, rows };
  }
}

/** The table at this moment. Undefined: it is not complete. */
type State<M> = () =>
  | (Omit<Batch<M>, "rows"> & { entry: (key: string, partition: number) => SourceEntry<M> | undefined })
  | undefined;

/** Milliseconds: browsers can hang. */
const OPEN_WITHIN = 2000;
/** Milliseconds. */
const SAVE_EVERY = 250;
/** A table without changes is written as often, so that it is known how long the next page was away. */
const IDLE = 30_000;
