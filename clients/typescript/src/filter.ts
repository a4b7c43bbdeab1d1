// Filters of records and messages, in whatever reads them.

import { allow, flag, list, members, name, string } from "./check.ts";
import { bytes, type Content } from "./data.ts";

/**
 * Matches records by their key, messages by their subject, or both by a header or a part of their value. Without `equals`
 * and `prefixes`, it matches any key or header but null, and values that have the part.
 */
export interface Filter {
  /** The header's name. By default the key or subject is matched. */
  header?: string;
  /**
   * A JSON Pointer to a part of the value, such as `/order/status`. Then `equals` are strings, numbers, booleans and null,
   * and `prefixes` are strings.
   */
  value?: string;
  /** Values to match exactly. */
  equals?: Content[];
  /** Beginnings of values to match. */
  prefixes?: Content[];
  /** With `value`: the part is a larger number. */
  above?: number;
  /** With `value`: the part is a smaller number. */
  below?: number;
  /** With `value` alone, and false: the value has no such part. */
  exists?: boolean;
}

const number = allow("a number", Number.isFinite);
const wanted = list(() => {}, "values", 100);

/** @internal */
export const checkFilters = list(
  members({
    header: name,
    value: string,
    equals: wanted,
    prefixes: wanted,
    above: number,
    below: number,
    exists: flag,
  }),
  "filters",
  16,
);

/** @internal The contract's form of filters. */
export function recordFilters(filters: Filter[] = []) {
  const wanted = (value: Content) => bytes(value, "filters");
  return filters.map(({ header, value: pointer, equals = [], prefixes = [], above, below, exists }) => ({
    header,
    pointer,
    equals: equals.map((value) => wanted(pointer === undefined ? value : JSON.stringify(value))),
    prefixes: prefixes.map(wanted),
    above: above?.toString(),
    below: below?.toString(),
    missing: exists === false,
  }));
}
