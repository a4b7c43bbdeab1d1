// Where a subscription continues: in the same page after a lost connection, or in the next one.

/** The next offset of each partition, by topic. `JSON.stringify` keeps all of it. */
export interface Positions {
  [topic: string]: {
    /** Distinguishes the topic from others of the same name, before or after it. In base64. */
    id: string;
    next: { [partition: number]: number };
  };
}

/** Keeps positions. */
export interface PositionStore {
  load(): Positions | undefined | Promise<Positions | undefined>;
  save(positions: Positions): void | Promise<void>;
}

/**
 * Keeps positions in the browser, so that a page goes on where it was when it is loaded again.
 *
 * @param name distinguishes subscriptions.
 */
export function positionsIn(storage: Storage, name: string): PositionStore {
  return {
    load() {
      const text = storage.getItem(name);
      try {
        return text === null ? undefined : JSON.parse(text);
      } catch {
        return undefined;
      }
    },
    save: (positions) => storage.setItem(name, JSON.stringify(positions)),
  };
}
