// A row that shows a record, in both tables of the page.

import type { Data, TopicRecord } from "sluicegate";
import { age, number } from "./format.ts";

export function emptyRow(): HTMLTableRowElement {
  const row = document.createElement("tr");
  row.setAttribute("role", "row");
  for (const name of ["partition", "offset", "key", "value", "age"]) {
    const cell = row.insertCell();
    cell.className = name;
    cell.setAttribute("role", "cell");
  }
  return row;
}

/** Shows a record. `isOwn` highlights it. */
export function fill(row: HTMLTableRowElement, record: TopicRecord, isOwn: boolean, now: number): void {
  const [partition, offset, key, value] = row.cells;
  row.dataset.partition = partition!.textContent = String(record.partition);
  row.dataset.offset = offset!.textContent = String(record.offset);
  row.dataset.timestamp = String(record.timestamp.getTime());
  row.classList.toggle("own", isOwn);
  show(key!, record.key);
  show(value!, record.value);
  const about = schemaOf(record);
  if (about) value!.append(" ", note(about));
  if (isOwn) value!.append(" ", note("· written here"));
  showAge(row, now);
}

/** The schema of a value that is shown as JSON, or why it is not. */
function schemaOf({ valueSchema, notDecoded }: TopicRecord): string {
  if (notDecoded) return `· as stored: ${notDecoded}`;
  return valueSchema ? `· ${valueSchema.type} schema ${valueSchema.id ?? valueSchema.guid}` : "";
}

/** Shows how old the row's record is. */
export function showAge(row: HTMLTableRowElement, now: number): void {
  const text = age(now - Number(row.dataset.timestamp));
  const cell = row.cells[4]!;
  if (cell.textContent !== text) cell.textContent = text;
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

/** Text of the page, not of the record. */
function note(text: string): HTMLElement {
  const element = document.createElement("span");
  element.className = "note";
  element.textContent = text;
  return element;
}

/** Of a key or a value. */
const CHARACTERS = 200;
const decoder = new TextDecoder();
