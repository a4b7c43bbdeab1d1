// The table of the newest records.

import type { TopicRecord } from "sluicegate";
import { byId } from "./dom.ts";
import { emptyRow, fill, showAge } from "./row.ts";

/** Shows the last {@link ROWS} records, the newest first. */
export class RecordTable {
  readonly #body = document.querySelector<HTMLTableSectionElement>("#records tbody")!;
  readonly #empty = byId("empty");
  /** Records that are not rendered yet, at most {@link ROWS}. */
  #pending: { record: TopicRecord; isOwn: boolean }[] = [];

  /** Shows a record with the next rendering. `isOwn` highlights it. */
  add(record: TopicRecord, isOwn: boolean): void {
    this.#pending.push({ record, isOwn });
    if (this.#pending.length > ROWS) this.#pending.shift();
  }

  /** Reuses the rows that drop out at the bottom, so that the page creates no more than {@link ROWS}. */
  render(): void {
    const now = Date.now();
    for (const { record, isOwn } of this.#pending) {
      const rows = this.#body.rows;
      const row = rows.length < ROWS ? emptyRow() : rows[ROWS - 1]!;
      fill(row, record, isOwn, now);
      this.#body.prepend(row);
    }
    this.#pending = [];
    this.#empty.hidden = this.#body.rows.length > 0;
  }

  updateAges(): void {
    const now = Date.now();
    for (const row of this.#body.rows) showAge(row, now);
  }
}

const ROWS = 50;
