// The entries of a table: of each partition and key the newest record, and of each key the newest of all partitions.

import type { SourceEntry } from "./source.ts";

/** @internal The newest message of a key in one partition. */
export interface Row<T, M> {
  readonly partition: number;
  readonly offset: bigint;
  readonly timestamp: bigint;
  readonly message: M;
  /** Undefined: the key is left out. */
  readonly value: T | undefined;
  /** The snapshot that confirmed it last. */
  snapshot: number;
}

/** @internal Told about a row that was set or removed, and whether that changed the table. */
export type Changed = (key: string, partition: number, isVisible: boolean) => void;

/** @internal */
export class Rows<T, M> {
  /** The values of all keys. */
  readonly values = new Map<string, T>();
  readonly #rows = new Map<string, Row<T, M>[]>();
  readonly #decode: (message: M) => T | undefined;
  readonly #changed: Changed;
  #snapshot = 0;
  /** The first snapshot of this log: an offset of another one is another record. */
  #first = 0;
  #log = "";

  constructor(decode: (message: M) => T | undefined, changed: Changed) {
    this.#decode = decode;
    this.#changed = changed;
  }

  /** The row that is visible. */
  newest(key: string): Row<T, M> | undefined {
    return newest(this.#rows.get(key) ?? []);
  }

  row(key: string, partition: number): Row<T, M> | undefined {
    return this.#rows.get(key)?.find((row) => row.partition === partition);
  }

  /** Sets or removes a key of a partition. */
  apply(partition: number, { key, message, offset, timestamp }: SourceEntry<M>): void {
    if (key === undefined) return;
    const old = this.row(key, partition);
    if (message === undefined) {
      if (old) this.#replace(key, old, undefined);
    } else if (old?.offset === offset && old.timestamp === timestamp && old.snapshot >= this.#first) {
      old.snapshot = this.#snapshot;
    } else {
      const value = this.#decode(message);
      this.#replace(key, old, { partition, offset, timestamp, message, value, snapshot: this.#snapshot });
    }
  }

  /** A snapshot of a log begins: rows that it does not have are removed at its end. An empty id is of an unknown log. */
  begin(log: string): void {
    this.#snapshot++;
    if (log === "" || log !== this.#log) this.#first = this.#snapshot;
    this.#log = log;
  }

  /** The snapshot is complete. */
  end(): void {
    this.#drop((row) => row.snapshot < this.#snapshot);
  }

  /** Records of a partition before this offset are gone. */
  dropBefore(partition: number, offset: bigint): void {
    this.#drop((row) => row.partition === partition && row.offset < offset);
  }

  clear(): void {
    this.#drop(() => true);
  }

  #drop(isOver: (row: Row<T, M>) => boolean): void {
    for (const [key, rows] of this.#rows) for (const row of rows.filter(isOver)) this.#replace(key, row, undefined);
  }

  #replace(key: string, old: Row<T, M> | undefined, row: Row<T, M> | undefined): void {
    const rows = this.#rows.get(key) ?? [];
    const before = newest(rows);
    const after = [...rows.filter((other) => other !== old), ...(row ? [row] : [])];
    if (after.length) this.#rows.set(key, after);
    else this.#rows.delete(key);
    const visible = newest(after);
    if (visible?.value === undefined) this.values.delete(key);
    else this.values.set(key, visible.value);
    this.#changed(key, (row ?? old)!.partition, visible !== before);
  }
}

/** The row with the latest timestamp; of several the one of the highest partition. */
function newest<T, M>([first, ...others]: Row<T, M>[]): Row<T, M> | undefined {
  return others.reduce((best, row) => (isNewer(row, best!) ? row : best), first);
}

function isNewer<T, M>(row: Row<T, M>, other: Row<T, M>): boolean {
  return row.timestamp === other.timestamp ? row.partition > other.partition : row.timestamp > other.timestamp;
}
