// The table of the newest records.

import type { Data, TopicRecord } from "sluicegate";
import { byId } from "./dom.ts";
import { age, number } from "./format.ts";

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

function emptyRow(): HTMLTableRowElement {
  const row = document.createElement("tr");
  row.setAttribute("role", "row");
  for (const name of ["partition", "offset", "key", "value", "age"]) {
    const cell = row.insertCell();
    cell.className = name;
    cell.setAttribute("role", "cell");
  }
  return row;
}

function fill(row: HTMLTableRowElement, record: TopicRecord, isOwn: boolean, now: number): void {
  const [partition, offset, key, value] = row.cells;
  row.dataset.partition = partition!.textContent = String(record.partition);
  row.dataset.offset = offset!.textContent = String(record.offset);
  row.dataset.timestamp = String(record.timestamp.getTime());
  row.classList.toggle("own", isOwn);
  show(key!, record.key);
  show(value!, record.value);
  if (isOwn) value!.append(" ", note("· written here"));
  showAge(row, now);
}

/** Shows the beginning of the text. Only that much of it is decoded. */
function show(cell: HTMLTableCellElement, data: Data | undefined): void {
  if (!data?.bytes.length) return cell.replaceChildren(note(data ? "empty" : "null"));
  const { bytes } = data;
  // A character has at most 4 bytes.
  const characters = [...decoder.decode(bytes.subarray(0, 4 * CHARACTERS))];
  const isWhole = characters.length <= CHARACTERS && bytes.length <= 4 * CHARACTERS;
  cell.textContent = isWhole ? characters.join("") : `${characters.slice(0, CHARACTERS).join("")}…`;
  if (!isWhole) cell.append(" ", note(`${number(bytes.length)} bytes`));
}

function showAge(row: HTMLTableRowElement, now: number): void {
  const text = age(now - Number(row.dataset.timestamp));
  const cell = row.cells[4]!;
  if (cell.textContent !== text) cell.textContent = text;
}

/** Text of the page, not of the record. */
function note(text: string): HTMLElement {
  const element = document.createElement("span");
  element.className = "note";
  element.textContent = text;
  return element;
}

const ROWS = 50;
/** Of a key or a value. */
const CHARACTERS = 200;
const decoder = new TextDecoder();
