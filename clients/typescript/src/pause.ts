// Pauses between attempts.

/**
 * @internal Full jitter, in milliseconds: clients that failed together do not come back together. `failures` in a row
 * were before.
 */
export function jitter(failures: number): number {
  return Math.random() * Math.min(LONGEST, FIRST * 2 ** failures);
}

/**
 * @internal A controller that these signals abort, too. Abort it when it is done, so that they do not keep it. Browsers of
 * 2022 have no `AbortSignal.any`.
 */
export function linked(...signals: (AbortSignal | undefined)[]): AbortController {
  const controller = new AbortController();
  for (const signal of signals) {
    const abort = () => controller.abort(signal!.reason);
    if (signal?.aborted) abort();
    signal?.addEventListener("abort", abort, { signal: controller.signal });
  }
  return controller;
}

/** @internal Waits, unless the signal comes first, or an error after so many milliseconds. */
export function unless<T>(
  signal: AbortSignal | undefined,
  awaited: Promise<T>,
  milliseconds?: number,
  late = new Error(`no result within ${milliseconds} ms`),
): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let abort!: () => void;
  return new Promise<T>((resolve, reject) => {
    awaited.then(resolve, reject);
    abort = () => reject(signal!.reason);
    if (signal?.aborted) abort();
    signal?.addEventListener("abort", abort);
    if (milliseconds !== undefined) timer = setTimeout(reject, milliseconds, late);
  }).finally(() => {
    clearTimeout(timer);
    signal?.removeEventListener("abort", abort);
  });
}

/**
 * @internal Resolves after so many milliseconds, unless the signal comes first. `resumes` gets a function that ends the
 * pause.
 */
export function pause(
  signal: AbortSignal,
  milliseconds: number,
  resumes?: (resume: () => void) => void,
): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const over = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, milliseconds);
    resumes?.(resolve);
  });
  return unless(signal, over).finally(() => clearTimeout(timer));
}

/**
 * @internal Milliseconds since 1970: neither stands still while the machine sleeps, nor goes back when `Date` is set back.
 * It jumps if `Date` is set forward: intervals within a page are those of `performance.now()`.
 */
export function clock(): number {
  return Math.max(Date.now(), Math.floor(performance.timeOrigin + performance.now()));
}

/** Milliseconds. */
const FIRST = 500;
const LONGEST = 20_000;
