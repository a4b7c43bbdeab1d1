// The button that pauses the loop. The client then stops granting credit, and the server holds records back.

import { byId } from "./dom.ts";

export class PauseButton {
  readonly #button = byId<HTMLButtonElement>("pause");
  #resume: (() => void) | undefined;
  /** While paused: resolves when the loop may go on. */
  #pause: Promise<void> | undefined;

  constructor() {
    this.#button.addEventListener("click", () => this.#toggle());
  }

  get resumed(): Promise<void> | undefined {
    return this.#pause;
  }

  #toggle(): void {
    if (this.#resume) {
      this.#resume();
      this.#resume = this.#pause = undefined;
    } else {
      this.#pause = new Promise((resolve) => {
        this.#resume = resolve;
      });
    }
    this.#button.textContent = this.#pause ? "Resume" : "Pause";
    byId("paused").hidden = !this.#pause;
  }
}
