// The newest value of each key. The page subscribes to it only while it is shown.

import type { Data, Gate, Table, TableEvent } from "sluicegate";
import { byId } from "./dom.ts";
import { count, number } from "./format.ts";
import { throttled } from "./frame.ts";
import { emptyRow, fill, showAge } from "./row.ts";

/** Shows the first {@link ROWS} keys, in alphabetical order, that contain the text of the search field. */
export class NewestView {
  readonly #gate: Gate;
  readonly #topic: string;
  readonly #details = byId<HTMLDetailsElement>("newest");
  readonly #search = byId<HTMLInputElement>("search");
  readonly #body = document.querySelector<HTMLTableSectionElement>("#newest tbody")!;
  readonly #render = throttled(() => this.#show(), 200);
  /** Whether values are those of a schema, and shown as JSON. Others are shown even if they are not JSON. */
  decode = false;
  #table: Table<Data> | undefined;
  /** Records without a key. */
  #skipped = 0;
  #progress = "";
  #error = "";

  constructor(gate: Gate, topic: string) {
    this.#gate = gate;
    this.#topic = topic;
    this.#details.addEventListener("toggle", () => this.#toggle());
    this.#search.addEventListener("input", this.#render);
  }

  updateAges(): void {
    const now = Date.now();
    for (const row of this.#body.rows) showAge(row, now);
  }

  #toggle(): void {
    this.#table?.close();
    this.#table = undefined;
    this.#skipped = 0;
    this.#progress = this.#error = "";
    if (this.#details.open) void this.#follow();
    this.#render();
  }

  async #follow(): Promise<void> {
    const decode = this.decode || ((data: Data) => data);
    const onEvent = (event: TableEvent) => this.#handle(event);
    // Without logins, a connection that was cut is not the next user's.
    const table = this.#gate.table<Data>(this.#topic, { decode, identity: "everyone", onEvent });
    this.#table = table;
    try {
      for await (const _ of table.changes()) this.#render();
    } catch (error) {
      if (this.#table === table) this.#error = (error as Error).message;
    }
    this.#render();
  }

  #handle(event: TableEvent): void {
    if (event.type === "complete") {
      this.#skipped = event.skipped;
      this.#progress = "";
    }
    if (event.type === "building") {
      const { partition, next, end } = event;
      this.#progress = `partition ${partition} is read up to offset ${number(next)} of ${number(end)}`;
    }
    this.#render();
  }

  #show(): void {
    const table = this.#table;
    const found = table ? this.#find(table) : { keys: [], matching: 0 };
    while (this.#body.rows.length > found.keys.length) this.#body.deleteRow(-1);
    const now = Date.now();
    for (const [index, key] of found.keys.entries()) {
      const record = table?.record(key);
      if (!record) continue;
      const row = this.#body.rows[index] ?? this.#body.appendChild(emptyRow());
      const { textKey, partition, offset, timestamp } = row.dataset;
      const isSame = textKey === key && partition === String(record.partition);
      if (isSame && offset === String(record.offset) && timestamp === String(record.timestamp.getTime())) continue;
      row.dataset.textKey = key;
      fill(row, record, false, now);
      if (isSame) highlight(row);
    }
    byId("newest-state").textContent = table ? this.#describe(table, found.matching) : "";
  }

  /** One pass over all keys, which can be many. */
  #find(table: Table<Data>): { keys: string[]; matching: number } {
    const text = this.#search.value;
    let matching = 0;
    const keys: string[] = [];
    for (const key of table.keys()) {
      if (!key.includes(text)) continue;
      matching += 1;
      if (keys.length === ROWS && key > keys[ROWS - 1]!) continue;
      keys.push(key);
      keys.sort();
      keys.length = Math.min(keys.length, ROWS);
    }
    return { keys, matching };
  }

  #describe(table: Table<Data>, matching: number): string {
    if (this.#error) return `The table has ended: ${this.#error}.`;
    if (table.status === "loading") return `Loading${this.#progress && `: ${this.#progress}`}…`;
    const shown = matching > ROWS ? `, of which the first ${ROWS} are shown` : "";
    const isSearch = this.#search.value !== "";
    const found = isSearch ? `${number(matching)} of ${count(table.size, "key")}` : count(matching, "key");
    const skipped = this.#skipped ? ` ${count(this.#skipped, "record")} had no key.` : "";
    const behind = table.status === "stale" ? " They may be out of date." : "";
    return `${found}${shown}.${behind}${skipped}`;
  }
}

/** Draws the eye to a row whose value has changed, unless the user prefers none of that. */
function highlight(row: HTMLTableRowElement): void {
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
  row.animate([{ background: "var(--own)" }, {}], 800);
}

const ROWS = 50;
