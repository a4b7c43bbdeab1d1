// Tells whether the page is connected, cuts the connection, and retries.

import type { Gate, GateError, Status } from "sluicegate";
import { byId } from "./dom.ts";
import { count, duration } from "./format.ts";

/** Shows the client's `status` events. */
export class StatusView {
  readonly #element = byId("status");
  readonly #gate: Gate;
  readonly #address: string;
  readonly #cut = byId<HTMLButtonElement>("cut");
  #opened = 0;
  /** Error messages by partition. */
  readonly #unreadable = new Map<number, string>();
  #ended = "";
  /** When the connection was lost. */
  #lost: number | undefined;
  /** When the next attempt follows. */
  #retry: number | undefined;

  constructor(gate: Gate, address: string) {
    this.#gate = gate;
    this.#address = address;
    gate.addEventListener("status", () => this.#show(gate.status));
    this.#cut.addEventListener("click", () => {
      if (gate.status.state === "open") gate.reconnect();
      else gate.retryNow();
    });
  }

  /** Tells that a partition cannot be read, until {@link StatusView.readable}. */
  unreadable(partition: number, error: GateError): void {
    this.#unreadable.set(partition, error.message);
    this.#showFailures();
  }

  readable(partition: number): void {
    if (this.#unreadable.delete(partition)) this.#showFailures();
  }

  subscriptionEnded(error: GateError): void {
    this.#ended = `The subscription has ended: ${error.message}. Reload the page to subscribe again.`;
    this.#showFailures();
    this.#showState();
  }

  /** Counts down to the next attempt. */
  countDown(): void {
    const left = this.#retry === undefined ? 0 : Math.ceil((this.#retry - performance.now()) / 1000);
    byId("countdown").textContent = left > 0 ? ` · next attempt in ${left} s` : "";
  }

  #showFailures(): void {
    const [first] = this.#unreadable;
    const element = byId("failure");
    element.textContent =
      this.#ended || (first ? `Partition ${first[0]} cannot be read at the moment: ${first[1]}` : "");
    element.hidden = !element.textContent;
  }

  #show(status: Status): void {
    const now = performance.now();
    this.#retry = status.state === "waiting" ? now + status.retryIn : undefined;
    if (status.state === "disconnected") this.#lost ??= now;
    if (status.state === "open") this.#countOpen(now);
    // Not each attempt.
    if (status.state === "open") byId("announcement").textContent = "The page is connected.";
    if (status.state === "disconnected") byId("announcement").textContent = "The connection is lost.";
    this.#showState();
    byId("detail").textContent = status.error ? `: ${status.error.message}` : ` · ${this.#address}`;
    this.#cut.textContent = status.state === "waiting" ? "Retry now" : "Cut the connection";
    // Not `disabled`, which would take the keyboard's focus away.
    this.#cut.ariaDisabled = String(status.state !== "open" && status.state !== "waiting");
    this.countDown();
  }

  /** An open connection without the subscription is no good sign. */
  #showState(): void {
    const { state } = this.#gate.status;
    this.#element.dataset.state = this.#ended ? "closed" : state;
    byId("state").textContent = this.#ended ? "subscription ended" : state;
  }

  #countOpen(now: number): void {
    this.#opened += 1;
    if (this.#opened > 1) {
      const after = this.#lost === undefined ? "" : `, the last one after ${duration(now - this.#lost)}`;
      byId("reconnects").textContent = count(this.#opened - 1, "reconnect") + after;
    }
    this.#lost = undefined;
  }
}
