// Logs that are read as they are written: a loop takes each item once, in order, however often the connection is lost.

import { commit, type Membership, revoked } from "./commit.ts";
import type { Connection } from "./connection.ts";
import type { Connections } from "./connections.ts";
import { toBase64 } from "./data.ts";
import { ENDED, GateError } from "./errors.ts";
import { listen, persist } from "./feed.ts";
import type { LoopOptions } from "./loop.ts";
import { linked, pause, unless } from "./pause.ts";
import type { Places, PositionStore, Positions, StoredPositions } from "./positions.ts";
import type { TopicRecord } from "./record.ts";
import type { Delivery, EventInput, Place, SubscribedLog, System } from "./system.ts";

type Options<P> = LoopOptions<never, P> & { autoCommit?: boolean };

/** A delivery, or an event behind it, that waits for the loop. */
type Waiting<Item> = (Delivery<Item> & { taken: number }) | EventInput;

/**
 * Records, or messages of streams, to loop over, once: `for await (const record of gate.subscribe("orders"))`. A second
 * loop, after the first one has ended, is a {@link GateError} with `reason` `closed`.
 *
 * @typeParam Item {@link TopicRecord} for topics, {@link StreamMessage} for streams.
 * @typeParam P {@link Positions} for topics, {@link StreamPositions} for streams.
 */
export class Subscription<Item = TopicRecord, P = Positions> implements AsyncIterableIterator<Item> {
  readonly #connections: Connections;
  readonly #system: System<Item, P>;
  readonly #options: Options<P>;
  readonly #window: number;
  readonly #end: AbortController;
  readonly #signal: AbortSignal;
  /** Ends the subscription: with the loop, or after the last commit. */
  readonly #left: AbortController;
  /** Present while a group gives it partitions. */
  #member: Membership | undefined;
  readonly #waiting: Waiting<Item>[] = [];
  /** Where the server continues: behind what waits. */
  #received: Places = new Map();
  /** Where the loop is. */
  #taken: Places = new Map();
  #running = false;
  #isOver = false;
  /** Whether there are positions to save, and who saves them. */
  #isUnsaved = false;
  #saving: Promise<void> | undefined;
  /** Whether a failure of the store was told. */
  #isTold = false;
  /** Of the last call of `next` that had to wait. */
  #turn: Promise<unknown> = Promise.resolve();
  /** Calls of `next` that wait. */
  #turns = 0;
  /** Called when the loop comes back. */
  #back: (() => void) | undefined;
  #error: unknown;
  #wake: (() => void) | undefined;
  /** Bytes that the loop has taken since the last grant. */
  #ungranted = 0;
  #grant: ((bytes: number) => void) | undefined;

  /** @internal */
  constructor(connections: Connections, system: System<Item, P>, options: Options<P>) {
    this.#connections = connections;
    this.#system = system;
    this.#options = options;
    this.#window = options.window ?? WINDOW;
    this.#end = linked(connections.signal, options.signal);
    this.#signal = this.#end.signal;
    this.#left = options.autoCommit ? new AbortController() : this.#end;
    const leave = () => this.#left.abort();
    if (options.autoCommit)
      this.#signal.addEventListener("abort", () => Promise.resolve(this.#saving).then(leave, leave));
  }

  /** The positions behind what the loop has processed. */
  get positions(): P {
    return this.#system.positions(this.#taken);
  }

  [Symbol.asyncIterator](): this {
    if (this.#isOver) throw new GateError(ENDED, "closed");
    return this;
  }

  /**
   * Resolves with the next record or message. The one before it counts as processed.
   *
   * @throws GateError if the subscription ends for a reason that a retry cannot help.
   *
   * @example
   * ```ts
   * const { value: record, done } = await subscription.next();
   * ```
   */
  async next(): Promise<IteratorResult<Item, undefined>> {
    const waiting = this.#waiting[0];
    // Most items wait already: spares them the queue of calls.
    if (!(this.#turns || this.#signal.aborted) && waiting?.case === "delivery") {
      const value = this.#item(waiting);
      if (value) return { done: false, value };
    }
    this.#turns++;
    this.#back?.();
    const turn = this.#turn.then(() => this.#next());
    this.#turn = turn.catch(() => this.return().catch(() => {}));
    return turn.finally(() => this.#turns--);
  }

  /**
   * Ends the subscription, as `break` does.
   *
   * @example
   * ```ts
   * await subscription.return();
   * ```
   */
  async return(): Promise<IteratorResult<Item, undefined>> {
    this.#leave();
    this.#waiting.length = 0;
    await this.#saving;
    return { done: true, value: undefined };
  }

  /** @internal As {@link Member.commit}. */
  async commit(items?: Item | readonly Item[]): Promise<void> {
    const offsets = this.#system.offsets?.(this.#taken, items);
    if (!offsets) throw new TypeError("commit: expected a subscription with a group");
    const member = this.#member;
    if (!member) throw revoked();
    try {
      await commit(member, offsets);
    } catch (error) {
      const { message, reason } = error as GateError;
      throw this.#member === member || reason === "revoked" ? error : revoked(message);
    }
  }

  async #next(): Promise<IteratorResult<Item, undefined>> {
    try {
      if (!this.#running) {
        this.#running = true;
        this.#run().catch((error: unknown) => this.#fail(error));
      }
      while (!this.#signal.aborted) {
        const waiting = this.#waiting[0];
        if (waiting?.case === "event") {
          this.#waiting.shift();
          this.#take(waiting.at, waiting.next);
          this.#system.tell(waiting.at, waiting.event);
        } else if (waiting) {
          const value = this.#item(waiting);
          if (value) return { done: false, value };
          this.#waiting.shift();
        } else if (this.#error !== undefined) {
          throw this.#error;
        } else {
          await new Promise<void>((resolve) => {
            this.#wake = resolve;
          });
        }
      }
    } catch (error) {
      this.#leave();
      throw error;
    }
    return this.return();
  }

  #leave(): void {
    this.#isOver = true;
    this.#end.abort();
  }

  /** The next item of a delivery; the one before it counts as processed. Undefined behind the last one. */
  #item(delivery: Delivery<Item> & { taken: number }): Item | undefined {
    this.#done(delivery.items[delivery.taken - 1]?.cost ?? 0);
    const taken = delivery.items[delivery.taken++];
    this.#take(delivery.at, taken?.offset ?? delivery.next);
    return taken?.item;
  }

  #fail(error: unknown): void {
    this.#error ??= error;
    this.#wake?.();
  }

  /** Subscribes, again and again, until it fails for good. */
  async #run(): Promise<never> {
    const { positions } = this.#options;
    const places = this.#system.places(positions && (await this.#stored(positions, () => positions.load())));
    [this.#taken, this.#received] = [places, this.#system.places(this.#system.positions(places))];
    return persist(this.#signal, async (progress) => {
      // A member that takes nothing would keep its partitions from the others.
      if (this.#system.offsets && !this.#turns) {
        const back = new Promise<void>((resolve) => {
          this.#back = resolve;
        });
        await unless(this.#signal, back);
      }
      return this.#subscribe(await this.#connections.next(this.#signal), progress);
    });
  }

  /** Subscribes from where the last subscription ended, and resolves when this one has. */
  #subscribe(connection: Connection, progress: () => void): Promise<GateError> {
    // Items that wait for the loop have used a part of the window.
    const credit = this.#window - this.#waiting.reduce((sum, waiting) => sum + size(waiting), 0);
    this.#ungranted = Math.min(0, credit);
    const command = this.#system.command(this.#received, Math.max(0, credit));
    const { ended, subscription, grant } = listen(connection, this.#left.signal, command, (answer) => {
      const input = this.#system.input(answer);
      switch (input?.case) {
        case "subscribed":
          return this.#subscribed(input.logs);
        case "assigned":
          this.#subscribed(input.logs);
          this.#member = { connection, subscription, assignment: input.assignment };
          return this.#tell({ type: "assigned", partitions: partitionsOf(input.logs) });
        case "revoked":
          return this.#revoke();
        case "delivery":
          progress();
          return this.#push({ ...input, taken: 0 });
        case "event":
          return this.#push(input);
      }
    });
    this.#grant = grant;
    return ended.finally(() => this.#revoke());
  }

  /** Forgets the partitions of the group, and what waits of them: it comes again, here or at another member. */
  #revoke(): void {
    if (!this.#member) return;
    this.#member = undefined;
    this.#done(this.#waiting.reduce((sum, waiting) => sum + size(waiting), 0));
    this.#waiting.length = 0;
    [this.#taken, this.#received] = [new Map(), new Map()];
    if (!this.#signal.aborted) this.#tell({ type: "revoked" });
  }

  #subscribed(logs: SubscribedLog[]): void {
    for (const { log, id: bytes, begins } of logs) {
      const id = toBase64(bytes);
      for (const places of [this.#received, this.#taken]) {
        const { next } = places.get(log) ?? { next: new Map<number, number>() };
        places.set(log, { id, next });
        // −1: it has not begun, and is told again when it does.
        for (const { partition, offset } of begins) {
          if ((next.get(partition) ?? -1) < 0) next.set(partition, Number(offset));
        }
      }
    }
  }

  #push(waiting: Waiting<Item>): void {
    move(this.#received, waiting.at, waiting.next);
    const costsNothing = waiting.case === "event" || !waiting.items.length;
    if (!(costsNothing && this.#join(waiting))) this.#waiting.push(waiting);
    this.#wake?.();
  }

  /**
   * Joins an empty delivery to what waits for its partition, and drops an older event: they cost no credit, and a loop
   * can stand still.
   */
  #join(waiting: Waiting<Item>): boolean {
    const { log, partition } = waiting.at;
    const before = this.#waiting.filter(({ at }) => at.log === log && at.partition === partition);
    if (waiting.case === "event") {
      const { event } = waiting;
      const old = before.reverse().find((other) => other.case === "delivery" || other.event.type === event.type);
      if (old?.case !== "event") return false;
      if (event.type === "skipped" && old.event.type === "skipped") waiting.event = { ...event, from: old.event.from };
      this.#waiting.splice(this.#waiting.indexOf(old), 1);
      return false;
    }
    const last = before.at(-1);
    if (last) last.next = waiting.next;
    return last !== undefined;
  }

  #take(at: Place, next: bigint | undefined): void {
    move(this.#taken, at, next);
    const { positions, autoCommit } = this.#options;
    if (!(positions || autoCommit)) return;
    this.#isUnsaved = true;
    if (this.#saving) return;
    this.#saving = this.#save(positions);
    this.#saving.catch((error: unknown) => this.#fail(error));
  }

  /** Grants what the loop has taken, in halves of the window, so that grants are few. */
  #done(bytes: number): void {
    this.#ungranted += bytes;
    if (this.#ungranted < this.#window / 2) return;
    this.#grant?.(this.#ungranted);
    this.#ungranted = 0;
  }

  /** One save at a time, soon, and not for each item. The end saves at once. */
  async #save(positions: PositionStore<P> | undefined): Promise<void> {
    while (this.#isUnsaved) {
      await pause(this.#signal, positions ? SAVE_AFTER : COMMIT_AFTER).catch((error: unknown) => {
        if (!this.#signal.aborted) throw error;
      });
      this.#isUnsaved = false;
      if (positions) await this.#stored(positions, () => positions.save(this.positions));
      else await this.commit().catch((error: GateError) => this.#notCommitted(error));
    }
    this.#saving = undefined;
  }

  /** Records that are not committed come again, unless another attempt helps. */
  #notCommitted(error: GateError): void {
    if (error.retriable) this.#isUnsaved = !this.#signal.aborted;
    else if (error.reason !== "revoked") throw error;
  }

  /** Loads or saves. Records are worth more than positions in the browser, which can be full or blocked. */
  async #stored<T>(positions: PositionStore<P>, run: () => T): Promise<Awaited<T> | undefined> {
    try {
      return await run();
    } catch (error) {
      if (!(positions as StoredPositions<P>).isOptional) throw error;
      if (this.#isTold) return undefined;
      this.#isTold = true;
      if (this.#options.onEvent) this.#tell({ type: "storeFailed", error });
      else console.warn(`sluicegate: positions are not stored: ${error}`);
    }
  }

  /** Tells an event that has no place in a log. */
  #tell(event: object): void {
    this.#options.onEvent?.(event as never);
  }
}

function move(places: Places, { log, partition }: Place, next: bigint | undefined): void {
  if (next !== undefined) places.get(log)?.next.set(partition, Number(next));
}

function partitionsOf(logs: SubscribedLog[]) {
  return logs.flatMap(({ log: topic, begins }) =>
    begins.map(({ partition, offset }) => ({ topic, partition, offset: Number(offset) })),
  );
}

/** The credit that a delivery still holds. */
function size<Item>(waiting: Waiting<Item>): number {
  if (waiting.case === "event") return 0;
  return waiting.items.slice(Math.max(0, waiting.taken - 1)).reduce((sum, { cost }) => sum + cost, 0);
}

const WINDOW = 256 * 1024;
/** Milliseconds. */
const SAVE_AFTER = 500;
const COMMIT_AFTER = 3000;
