// Records and latencies of each second. Memory does not depend on the number of records.

/** The figures of one second. */
interface Second {
  /** On the clock of `performance.now`, which never jumps. */
  readonly at: number;
  records: number;
  median: number | null;
  maximum: number | null;
}

/** Columns of figures, the oldest second first. Seconds before the page was opened are null. */
export interface Figures {
  /** Seconds before now, from −{@link SPAN} to −1. */
  readonly at: number[];
  readonly records: (number | null)[];
  readonly median: (number | null)[];
  readonly maximum: (number | null)[];
}

/** The last {@link SPAN} seconds. */
export class Seconds {
  readonly #start = second();
  #current: Second = empty(this.#start);
  /** Seconds with records. */
  #past: Second[] = [];
  /** A random sample of the latencies of the current second, at most {@link SAMPLE}. */
  #latencies: number[] = [];
  #measured = 0;

  /** Counts a record. The latency is in milliseconds; undefined if it says nothing about the connection. */
  add(latency: number | undefined): void {
    this.#advance();
    this.#current.records += 1;
    if (latency === undefined) return;
    this.#current.maximum = Math.max(latency, this.#current.maximum ?? latency);
    const place = this.#measured++;
    if (place < SAMPLE) this.#latencies.push(latency);
    else {
      const replaced = Math.floor(Math.random() * this.#measured);
      if (replaced < SAMPLE) this.#latencies[replaced] = latency;
    }
  }

  /** The figures of the seconds that are complete. */
  figures(): Figures {
    this.#advance();
    const now = this.#current.at;
    const past = new Map(this.#past.map((figures) => [figures.at, figures]));
    const at = Array.from({ length: SPAN }, (_, index) => index - SPAN);
    const seconds = at.map((ago) => (now + ago < this.#start ? undefined : (past.get(now + ago) ?? empty(now + ago))));
    return {
      at,
      records: seconds.map((figures) => figures?.records ?? null),
      median: seconds.map((figures) => figures?.median ?? null),
      maximum: seconds.map((figures) => figures?.maximum ?? null),
    };
  }

  /** Completes the current second if it is over. */
  #advance(): void {
    const now = second();
    if (now === this.#current.at) return;
    if (this.#current.records) {
      this.#current.median = median(this.#latencies);
      this.#past.push(this.#current);
    }
    this.#past = this.#past.filter(({ at }) => at >= now - SPAN);
    this.#current = empty(now);
    this.#latencies = [];
    this.#measured = 0;
  }
}

function second(): number {
  return Math.floor(performance.now() / 1000);
}

function empty(at: number): Second {
  return { at, records: 0, median: null, maximum: null };
}

function median(values: number[]): number | null {
  return values.sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? null;
}

export const SPAN = 90;
const SAMPLE = 1000;
