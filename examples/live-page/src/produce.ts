// The form that writes a record, and tells when it comes back through the subscription.

import { type Gate, GateError, type Reason, type TopicRecord } from "sluicegate";
import { byId } from "./dom.ts";
import { duration } from "./format.ts";

/** Marks its records with a header, because a record can come back before the answer that tells its offset. */
export class ProduceForm {
  readonly #gate: Gate;
  readonly #topic: string;
  readonly #output = byId<HTMLOutputElement>("produced");
  readonly #value = byId<HTMLInputElement>("value");
  readonly #button = document.querySelector<HTMLButtonElement>("#produce button")!;
  #isWriting = false;
  #id = "";
  #start = 0;
  #outcome = "";
  #isUnknown = false;
  #returned = "";
  /** The id of the schema of the newest record that has one: the next one is written with it. */
  #schema: number | undefined;

  constructor(gate: Gate, topic: string) {
    this.#gate = gate;
    this.#topic = topic;
    byId<HTMLFormElement>("produce").addEventListener("submit", (event) => {
      event.preventDefault();
      if (!this.#isWriting) void this.#write();
    });
  }

  /** Returns whether this page wrote a record that arrived. If it is the last one written, tells how long it took. */
  arrived(record: TopicRecord): boolean {
    this.#schema = record.valueSchema?.id ?? this.#schema;
    // The example of the page would not fit.
    if (record.valueSchema && this.#value.value === this.#value.defaultValue)
      this.#value.value = record.value?.text() ?? "";
    const id = record.headers.find(({ key }) => key === HEADER)?.value?.text();
    if (!id?.startsWith(PAGE)) return false;
    if (id === this.#id) {
      this.#returned = ` It came back through the subscription after ${duration(performance.now() - this.#start)}.`;
      this.#show();
    }
    return true;
  }

  async #write(): Promise<void> {
    this.#id = `${PAGE} ${performance.now()}`;
    this.#start = performance.now();
    this.#returned = "";
    this.#isUnknown = false;
    const isOpen = this.#gate.status.state === "open";
    this.#setWriting(true, isOpen ? "Writing…" : "The record will be written once the page is connected.");
    const key = byId<HTMLInputElement>("key").value || null;
    try {
      const headers = [{ key: HEADER, value: this.#id }];
      // As bytes, it is JSON and not a text in JSON.
      const value = new TextEncoder().encode(this.#value.value);
      const record = { key, value, valueSchema: this.#schema, headers };
      const { partition, offset } = await this.#gate.produce(this.#topic, record);
      const place = offset < 0 ? `partition ${partition}` : `partition ${partition} at offset ${offset}`;
      this.#setWriting(false, `Written to ${place} after ${duration(performance.now() - this.#start)}.`);
    } catch (error) {
      this.#isUnknown = error instanceof GateError && error.unknownOutcome;
      this.#setWriting(false, explain(error));
    }
  }

  #setWriting(isWriting: boolean, outcome: string): void {
    this.#isWriting = isWriting;
    this.#button.ariaDisabled = String(isWriting);
    this.#outcome = outcome;
    this.#show();
  }

  #show(): void {
    const wasUnknown = this.#isUnknown && this.#returned;
    this.#output.value =
      (wasUnknown ? "The record was written, but the answer was lost." : this.#outcome) + this.#returned;
  }
}

function explain(error: unknown): string {
  if (!(error instanceof GateError)) return `Not written: ${error}.`;
  if (error.unknownOutcome) {
    return `The record may or may not have been written: ${error.message}. Writing it again can duplicate it.`;
  }
  const reason = REASONS[error.reason];
  return `Not written. ${reason ? `${reason} ` : ""}(${error.message})`;
}

const REASONS: { [R in Reason]?: string } = {
  denied: "The gateway does not allow writing to this topic.",
  unauthorized: "Kafka does not allow the gateway to write to this topic.",
  not_found: "The topic does not exist.",
  too_large: "The record is too large.",
  invalid_record: "The topic does not accept such records.",
  queue_full: "Too many records wait to be written. Try again later.",
  quota_exceeded: "You have written too much. Try again later.",
  transient: "Kafka cannot write it at the moment. Try again later.",
  unreachable: "Kafka cannot be reached. Try again later.",
  disconnected: "The page is not connected.",
  closed: "The page is closed.",
};

const HEADER = "live-page";
/** Distinguishes this page from others that write to the topic. */
const PAGE = crypto.getRandomValues(new Uint32Array(2)).join("-");
