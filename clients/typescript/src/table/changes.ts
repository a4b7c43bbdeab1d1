// Changes of a table, for a loop: a slow one gets the newest change of each key.

import { ENDED, GateError } from "../errors.ts";

/**
 * The keys that have changed since the last {@link TableChange} of the loop. The first one has all keys.
 *
 * @typeParam T the type of values.
 */
export interface TableChange<T = any> {
  /** Keys that are new or have another value. */
  readonly updated: ReadonlyMap<string, T>;
  /** Keys that are gone. */
  readonly removed: ReadonlySet<string>;
}

/** @internal Changes of `values`, from all of them on. */
export class Changes<T> implements AsyncIterableIterator<TableChange<T>> {
  readonly #values: ReadonlyMap<string, T>;
  readonly #isComplete: () => boolean;
  readonly #ended: (changes: Changes<T>) => void;
  /** Keys that have changed: values, or keys that the loop has, so that they are bounded by these. */
  readonly #changed: Set<string>;
  /** Keys that the loop has. */
  readonly #taken = new Set<string>();
  /** The loop gets something even if nothing has changed, once the table is complete. */
  #isFirst = true;
  /** The same at once. */
  #isDue = false;
  #isOver = false;
  /** The loop knows. */
  #isLeft = false;
  #error: unknown;
  #wake = () => {};
  /** Of the last call of `next`. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(values: ReadonlyMap<string, T>, isComplete: () => boolean, ended: (changes: Changes<T>) => void) {
    this.#values = values;
    this.#isComplete = isComplete;
    this.#ended = ended;
    this.#changed = new Set(values.keys());
  }

  [Symbol.asyncIterator](): this {
    if (this.#isLeft) throw new GateError(ENDED, "closed");
    return this;
  }

  next(): Promise<IteratorResult<TableChange<T>, undefined>> {
    const turn = this.#turn.then(() => this.#next());
    this.#turn = turn.catch(() => {});
    return turn;
  }

  async return(): Promise<IteratorResult<TableChange<T>, undefined>> {
    this.#isLeft = true;
    this.end();
    return { done: true, value: undefined };
  }

  /** A key was set or removed. */
  changed(key: string): void {
    if (this.#values.has(key) || this.#taken.has(key)) this.#changed.add(key);
    else this.#changed.delete(key);
    this.#wake();
  }

  /** Lets the loop look again. If it is due, it gets something even if nothing has changed or the table is not complete. */
  wake(isDue: boolean): void {
    this.#isDue ||= isDue;
    this.#wake();
  }

  end(error?: unknown): void {
    this.#isOver = true;
    this.#error = error;
    this.#ended(this);
    this.#wake();
  }

  async #next(): Promise<IteratorResult<TableChange<T>, undefined>> {
    while (!this.#isOver) {
      const hasMore = this.#isFirst || this.#changed.size > 0;
      if (this.#isDue || (hasMore && this.#isComplete())) return { done: false, value: this.#take() };
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    this.#isLeft = true;
    const error = this.#error;
    this.#error = undefined;
    if (error !== undefined) throw error;
    return { done: true, value: undefined };
  }

  #take(): TableChange<T> {
    const updated = new Map<string, T>();
    const removed = new Set<string>();
    for (const key of this.#changed) {
      const value = this.#values.get(key);
      if (value !== undefined) {
        updated.set(key, value);
        this.#taken.add(key);
      } else if (this.#taken.delete(key)) {
        removed.add(key);
      }
    }
    this.#changed.clear();
    this.#isFirst = this.#isDue = false;
    return { updated, removed };
  }
}
