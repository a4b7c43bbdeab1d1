// Pauses between attempts.

/**
 * @internal Full jitter, in milliseconds: clients that failed together do not come back together. `failures` in a row
 * were before.
 */
export function jitter(failures: number): number {
  return Math.random() * Math.min(LONGEST, FIRST * 2 ** failures);
}

/** @internal Waits, unless the signal comes first. */
export function unless<T>(signal: AbortSignal, awaited: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort);
    awaited.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}

/** @internal Resolves after so many milliseconds, unless the signal comes first. */
export function pause(signal: AbortSignal, milliseconds: number): Promise<void> {
  let timer: ReturnType<typeof setTimeout>;
  const over = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, milliseconds);
  });
  return unless(signal, over).finally(() => clearTimeout(timer));
}

/** @internal Milliseconds since 1970: neither stands still while the machine sleeps, nor goes back when `Date` is set back. */
export function clock(): number {
  return Math.max(Date.now(), Math.floor(performance.timeOrigin + performance.now()));
}

/** Milliseconds. */
const FIRST = 500;
const LONGEST = 20_000;
