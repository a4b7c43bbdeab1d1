// Where a subscription continues: in the same page after a lost connection, or in the next one.

import { allow, name as checkName } from "./check.ts";

/** The next offset of each partition, by topic; −1 if the partition could not be read yet. It survives `JSON.stringify`. */
export interface Positions {
  [topic: string]: {
    /** The topic's id in base64: a topic that is created again has another. */
    id: string;
    next: { [partition: number]: number };
  };
}

/** The next sequence of each stream. It survives `JSON.stringify`. */
export interface StreamPositions {
  [stream: string]: {
    /** The stream's id in base64: a stream that is created again has another. */
    id: string;
    next: number;
  };
}

/** @internal The same, for logs of any name: topics, or streams, which have only partition 0. */
export type Places = Map<string, PlacesOfLog>;

/** @internal The same, for one log. */
export interface PlacesOfLog {
  id: string;
  next: Map<number, number>;
}

/** @internal Throws a TypeError if what a page has kept are no positions. */
export function placesOf(positions?: Positions | null): Places {
  check(positions);
  return new Map(
    Object.entries(positions ?? {}).map(([topic, { id = "", next = {} }]) => {
      const offsets = Object.entries(next).map(([partition, offset]) => [Number(partition), offset] as const);
      return [topic, { id, next: new Map(offsets) }];
    }),
  );
}

/** @internal */
export function positionsOf(places: Places): Positions {
  return Object.fromEntries(
    [...places].map(([topic, { id, next }]) => [topic, { id, next: Object.fromEntries(next) }]),
  );
}

/** @internal Throws a TypeError if what a page has kept are no positions. */
export function streamPlacesOf(positions?: StreamPositions | null): Places {
  check(positions);
  return new Map(
    Object.entries(positions ?? {}).map(([stream, { id, next }]) => [stream, { id, next: new Map([[0, next]]) }]),
  );
}

/** @internal */
export function streamPositionsOf(places: Places): StreamPositions {
  return Object.fromEntries([...places].map(([stream, { id, next }]) => [stream, { id, next: next.get(0)! }]));
}

/** @internal The bytes of an id. */
export function fromBase64(id: string): Uint8Array {
  return Uint8Array.from(atob(id), (char) => char.charCodeAt(0));
}

/**
 * Keeps the positions of a subscription. If it fails, the loop ends with its error. Only {@link positionsIn} can fail
 * without that.
 *
 * @typeParam P {@link Positions} for topics, {@link StreamPositions} for streams.
 */
export interface PositionStore<P = Positions> {
  /** Called once, before the first record or message. `undefined` begins at `from`. */
  load(): P | undefined | Promise<P | undefined>;
  /** Called at most every 500 ms while the loop runs, and at the end. */
  save(positions: P): void | Promise<void>;
}

/**
 * Positions in the browser's storage: {@link positionsIn}.
 *
 * @typeParam P {@link Positions} for topics, {@link StreamPositions} for streams.
 */
export interface StoredPositions<P = any> extends PositionStore<P> {
  /** Forgets the positions, so that the next subscription begins at `from`. End a running one first: it saves again. */
  clear(): void;
  /** @internal Whether the loop goes on without it. */
  readonly isOptional: true;
}

/** The part of `Storage` that {@link positionsIn} needs. */
export interface TextStorage {
  getItem(name: string): string | null;
  setItem(name: string, text: string): void;
  removeItem(name: string): void;
}

/**
 * Creates a store that keeps positions in the browser, so that a page that is loaded again continues where it was. What
 * the page showed is not kept: a page that shows a state keeps it beside its positions, or reads the topic again. In
 * `localStorage`, all tabs of an origin share the positions, and the last one to save wins: use `sessionStorage` if
 * each tab is to continue where it was itself. If the storage is full, or blocked, the loop goes on without, and an event
 * of `onEvent` says so once (`storeFailed`), or the console.
 *
 * @typeParam P {@link Positions} for topics, {@link StreamPositions} for streams.
 * @param storage `() => localStorage` or `() => sessionStorage`: browsers that block storage can throw where a page names
 * it. Or the storage itself; `null` is a blocked one.
 * @param name the key in the storage. Each subscription needs its own.
 *
 * @example
 * ```ts
 * const positions = positionsIn(() => sessionStorage, "orders");
 * for await (const record of gate.subscribe("orders", { from: "earliest", positions })) show(record);
 * ```
 */
export function positionsIn<P = any>(
  storage: TextStorage | null | (() => TextStorage | null),
  name: string,
): StoredPositions<P> {
  checkStorage(storage, "positionsIn: storage");
  checkName(name, "positionsIn: name");
  const open = () => {
    const opened = typeof storage === "function" ? storage() : storage;
    if (!opened) throw new Error("this browser has no storage for this page");
    return opened;
  };
  return {
    isOptional: true,
    load() {
      const text = open().getItem(name);
      try {
        return text === null ? undefined : JSON.parse(text);
      } catch {
        return undefined;
      }
    },
    save: (positions) => open().setItem(name, JSON.stringify(positions)),
    clear: () => open().removeItem(name),
  };
}

function check(positions: object | null | undefined): void {
  for (const [log, place] of Object.entries(positions ?? {})) checkPlace(place, `positions.${log}`);
}

const checkPlace = allow("an id and next, as they were saved", (place) => {
  try {
    const { id = "", next } = place;
    fromBase64(id);
    const numbers = typeof next === "object" ? Object.entries(next).flat() : [next];
    return numbers.every((number: any) => Number.isSafeInteger(+number) && number >= -1);
  } catch {
    return false;
  }
});
const checkStorage = allow(
  "localStorage, sessionStorage or a function that returns it",
  (value) => value === null || typeof (value?.getItem ?? value) === "function",
);
