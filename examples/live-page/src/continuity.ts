// Checks that the offsets of each partition follow on each other.

import type { TopicRecord } from "sluicegate";
import { byId } from "./dom.ts";
import { count, number } from "./format.ts";

/** Counts gaps and duplicates. Its attributes are always up to date, its text after {@link Continuity.render}. */
export class Continuity {
  readonly #element = byId("continuity");
  /** The next offset, by partition. */
  readonly #next = new Map<number, number>();
  #records = 0;
  #gaps = 0;
  #duplicates = 0;
  /** Offsets that a `skipped` event explains. */
  #skipped = 0;
  #lastProblem = "";

  add({ partition, offset }: TopicRecord): void {
    this.#records += 1;
    this.#element.dataset.records = String(this.#records);
    const expected = this.#next.get(partition) ?? offset;
    if (offset > expected) this.#gap(partition, expected, offset);
    if (offset < expected) {
      this.#duplicates += 1;
      this.#element.dataset.duplicates = String(this.#duplicates);
      this.#lastProblem = `partition ${partition} repeated offset ${offset}`;
    }
    this.#next.set(partition, Math.max(expected, offset + 1));
  }

  /** The server said that it does not deliver the offsets before `to`. */
  skip(partition: number, from: number, to: number): void {
    const expected = this.#next.get(partition) ?? from;
    if (from > expected) this.#gap(partition, expected, from);
    this.#skipped += Math.max(0, to - Math.max(from, expected));
    this.#next.set(partition, Math.max(expected, to));
  }

  render(): void {
    if (!this.#records) return;
    const found = [
      count(this.#records, "record"),
      `in ${count(this.#next.size, "partition")}`,
      `with ${count(this.#gaps, "gap")} and ${count(this.#duplicates, "duplicate")}`,
    ];
    const problem = this.#lastProblem && `. Last problem: ${this.#lastProblem}`;
    const skipped = this.#skipped ? `. ${number(this.#skipped)} were deleted before they could be read` : "";
    this.#element.textContent = found.join(" ") + problem + skipped;
  }

  #gap(partition: number, from: number, to: number): void {
    this.#gaps += 1;
    this.#element.dataset.gaps = String(this.#gaps);
    const missing = to - from === 1 ? `offset ${from}` : `offsets ${from} to ${to - 1}`;
    this.#lastProblem = `partition ${partition} is missing ${missing}`;
  }
}
