// Numbers and durations in words.

/** With separators between thousands. */
export function number(value: number): string {
  return NUMBER.format(value);
}

/** A number with its noun, as in "1 gap" or "no gaps". */
export function count(value: number, noun: string): string {
  return `${value === 0 ? "no" : number(value)} ${noun}${value === 1 ? "" : "s"}`;
}

/** Milliseconds, in the largest unit that keeps them readable. */
export function duration(milliseconds: number): string {
  if (Math.abs(milliseconds) < 1000) return `${Math.round(milliseconds)} ms`;
  const seconds = milliseconds / 1000;
  return seconds < 10 ? `${Math.round(seconds * 10) / 10} s` : age(milliseconds);
}

/** Milliseconds, in whole seconds, minutes, hours or days. */
export function age(milliseconds: number): string {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  if (seconds < 120) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 120) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h` : `${number(Math.floor(hours / 24))} d`;
}

const NUMBER = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
