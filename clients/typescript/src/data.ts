// Keys, values, headers and payloads: bytes, and what they mean.

/**
 * A validator of any library with [Standard Schema](https://standardschema.dev), such as Zod, Valibot or ArkType. It
 * must be synchronous.
 */
export interface Schema<T> {
  /** Part that the library provides. */
  readonly "~standard": {
    readonly version: 1;
    readonly vendor: string;
    readonly validate: (value: unknown) => Validated<T> | Promise<Validated<T>>;
    readonly types?: { readonly input: unknown; readonly output: T } | undefined;
  };
}

type Validated<T> = { readonly value: T; readonly issues?: undefined } | { readonly issues: readonly object[] };

/**
 * The bytes of a key, a value, a header or a payload.
 *
 * @typeParam T what {@link Data.json} returns.
 */
export class Data<T = any> {
  /** The bytes as Kafka or NATS has them. */
  readonly bytes: Uint8Array;
  readonly #schema: Schema<T> | undefined;

  /** @internal */
  constructor(bytes: Uint8Array, schema?: Schema<T>) {
    this.bytes = bytes;
    this.#schema = schema;
  }

  /**
   * Decodes UTF-8. Invalid bytes become U+FFFD.
   *
   * @example
   * ```ts
   * const key = record.key?.text() ?? "no key";
   * ```
   */
  text(): string {
    return decoder.decode(this.bytes);
  }

  /**
   * Parses JSON. Returns `undefined` if it is not JSON, or not what the `schema` of the subscription or fetch allows,
   * or if the `schema` throws, so that one odd record does not end a loop.
   *
   * @throws TypeError if the `schema` is asynchronous.
   *
   * @example
   * ```ts
   * const order = record.value?.json();
   * if (!order) continue;
   * ```
   */
  json(): T | undefined {
    let value: unknown;
    try {
      value = JSON.parse(this.text());
    } catch {
      return undefined;
    }
    if (!this.#schema) return value as T;
    let result: Validated<T> | Promise<Validated<T>>;
    try {
      result = Object(this.#schema["~standard"].validate(value));
    } catch {
      return undefined;
    }
    if ("then" in result) throw new TypeError("schema: expected a synchronous validator");
    return result.issues ? undefined : result.value;
  }

  /** As {@link Data.text}, so that template strings show values. */
  toString(): string {
    return this.text();
  }

  /**
   * Value that `JSON.stringify` writes: JSON as it is, other text as a string, and other bytes as `{"base64": "…"}`.
   */
  toJSON(): unknown {
    try {
      const text = strict.decode(this.bytes);
      try {
        return JSON.parse(text);
      } catch {
        return text;
      }
    } catch {
      return { base64: toBase64(this.bytes) };
    }
  }
}

/**
 * A key, a value, a header or a payload to write. Strings are written as UTF-8, bytes as they are, everything else as
 * JSON.
 */
export type Content = string | Uint8Array | object | number | boolean | null;

/** @internal Null is undefined. `at` names it. If it has a schema, texts are JSON, too. */
export function encode(content: Content | undefined, at: string, hasSchema = false): Uint8Array | undefined {
  if (content === null || content === undefined) return undefined;
  if (content instanceof ArrayBuffer) return new Uint8Array(content);
  if (ArrayBuffer.isView(content)) return new Uint8Array(content.buffer, content.byteOffset, content.byteLength);
  let text: string | undefined;
  try {
    if (hasSchema) text = JSON.stringify(content, (_, value) => (typeof value === "bigint" ? `${value}` : value));
    else text = typeof content === "string" ? content : JSON.stringify(content);
  } catch (error) {
    throw new TypeError(`${at}: ${(error as Error).message}`);
  }
  // JSON of a promise, a Map or a file is `{}`, that of NaN, an infinity or an invalid Date is `null`.
  const isLost =
    (text === "{}" && typeof content === "object" && !isPlain(content)) ||
    (text === "null" && typeof content !== "string");
  if (text === undefined || isLost) {
    const got = typeof content === "number" ? content : Object.prototype.toString.call(content);
    throw new TypeError(`${at}: expected a string, bytes or JSON, got ${got}`);
  }
  return encoder.encode(text);
}

/** @internal */
export function toBase64(bytes: Uint8Array): string {
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
}

/** @internal Null is empty. */
export function bytes(content: Content | undefined, at: string): Uint8Array {
  return encode(content, at) ?? new Uint8Array();
}

function isPlain(content: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(content);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

const decoder = new TextDecoder();
const strict = new TextDecoder("utf-8", { fatal: true });
const encoder = new TextEncoder();
