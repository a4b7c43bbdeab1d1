// Checks of arguments, so that plain JavaScript is told what TypeScript is.

/** @internal Throws a TypeError if the value is not allowed. `at` names the argument. */
export type Check = (value: unknown, at: string) => void;

/** @internal Throws a TypeError that names the argument, its value and what is allowed. Those of `connect` can have tokens. */
export function reject(at: string, value: unknown, expected: string): never {
  throw new TypeError(`${at}: expected ${expected}, got ${at.startsWith("connect") ? typeof value : shown(value)}`);
}

/** @internal Allows what `is` says. */
export function allow(expected: string, is: (value: any) => boolean): Check {
  return (value, at) => {
    if (!is(value)) reject(at, value, expected);
  };
}

/** @internal Allows whole numbers within the bounds. */
export function integer(least = 0, most = Number.MAX_SAFE_INTEGER): Check {
  const range = most < Number.MAX_SAFE_INTEGER ? `${least} to ${most}` : `at least ${least}`;
  return allow(`a whole number, ${range}`, (value) => Number.isSafeInteger(value) && value >= least && value <= most);
}

/** @internal Allows lists of at least `least` and at most `most` items. */
export function list(item: Check, what: string, most: number, least = 0): Check {
  return (value, at) => {
    if (!Array.isArray(value)) reject(at, value, `a list of ${what}`);
    if (value.length < least || value.length > most)
      throw new TypeError(`${at}: expected ${least} to ${most} ${what}, got ${value.length}`);
    for (const [index, one] of value.entries()) item(one, `${at}[${index}]`);
  };
}

/** @internal Allows objects with these members. A member whose check is not in `required` can be undefined. */
export function members(checks: { [member: string]: Check }, required: string[] = []): Check {
  const known = Object.keys(checks).join(", ");
  return (value, at) => {
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      reject(at, value, `an object with ${required.join(" and ") || known}`);
    }
    for (const [member, content] of Object.entries(value)) {
      const check = Object.hasOwn(checks, member) ? checks[member] : undefined;
      if (!check) throw new TypeError(`${at}.${member} is unknown: expected ${known}`);
      if (content !== undefined) check(content, `${at}.${member}`);
    }
    for (const member of required)
      if ((value as { [member: string]: unknown })[member] === undefined) missing(`${at}.${member}`, value);
  };
}

/** @internal The name of a topic, a stream or a header. */
export const name = allow("a string that is not empty", (value) => typeof value === "string" && value !== "");
/** @internal */
export const string = allow("a string", (value) => typeof value === "string");
/** @internal */
export const flag = allow("true or false", (value) => typeof value === "boolean");
/** @internal */
export const callback = allow("a function", (value) => typeof value === "function");
/** @internal */
export const date = allow("a valid Date", isDate);
/** @internal */
export const partition = integer(0, 2 ** 31 - 1);
/** @internal Milliseconds that a timer can wait. */
export const duration = integer(1, 2 ** 31 - 1);
/** @internal */
export const end = allow('"earliest", "latest" or a valid Date', (value) => isEnd(value) || isDate(value));
/** @internal Where a subscription begins. */
export const from = allow(
  '"earliest", "latest", a whole number (-N: N before the end), a valid Date, or a time such as "s@-5m"',
  (value) => {
    if (INTEGER.test(value)) return Number.isSafeInteger(+value);
    return isEnd(value) || isDate(value) || (typeof value === "string" && millis(value) >= 0);
  },
);
/** @internal A whole number, or its text. */
export const INTEGER = /^-?\d+$/;
/** @internal The settings of every command. */
export const command = {
  signal: allow("an AbortSignal", (value) => typeof value?.aborted === "boolean"),
};
/** @internal A validator of values. */
export const schema = allow("a Standard Schema", (value) => typeof value?.["~standard"]?.validate === "function");

/** @internal The milliseconds since 1970 of a time such as `s@-5m`; NaN: it is none. */
export function millis(text: string): number {
  const [, time, ago, unit = ""] = /^s@(?:(\d+|\d.*T.*(?:Z|[+-]..:..))|-(\d+)([smhd]))$/.exec(text) ?? [];
  if (time) return time.includes("T") ? Date.parse(time) : Number(time);
  return Date.now() - Number(ago) * (UNITS[unit] ?? NaN);
}

/** Milliseconds. */
const UNITS: { [unit: string]: number } = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

function isEnd(value: unknown): boolean {
  return value === "earliest" || value === "latest";
}

function isDate(value: unknown): boolean {
  return value instanceof Date && !Number.isNaN(value.getTime());
}

function missing(at: string, value: unknown): never {
  const hint = at.endsWith("value") || at.endsWith("data") ? ", which can be null" : "";
  throw new TypeError(`${at} is missing${hint}: got ${shown(value)}`);
}

/** The beginning of a value, as its author would write it. */
function shown(value: unknown): string {
  if (typeof value === "function") return "a function";
  if (typeof value !== "string" && (typeof value !== "object" || value instanceof Date)) return String(value);
  let text: string | undefined;
  try {
    text = JSON.stringify(value);
  } catch {
    // It contains itself, or a BigInt.
  }
  text ??= "an object";
  return text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text;
}

/** Characters. */
const SHOWN = 80;
