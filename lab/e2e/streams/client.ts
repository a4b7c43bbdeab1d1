// The official client in Node: `client.ts GATEWAY TOPIC`. Readers of each kind have every number once and in order, though
// the bridge is killed and a producer repeats itself. One begins where another one was.

import assert from "node:assert/strict";

import { DurableStream, IdempotentProducer, type LiveMode, type StreamResponse } from "@durable-streams/client";

import { args, ask, end, until } from "../browser/script.ts";

const [gateway = "", topic = ""] = args;
const handleOf = (path: string) =>
  new DurableStream({ url: `http://${gateway}/${path}`, contentType: "application/json" });
const handle = handleOf(`json/${topic}/0`);
const packed = handleOf(`packed/${topic}/1`);

const numbers = (from: number, to: number) => Array.from({ length: to - from }, (_, index) => from + index);

/** A reader, and what it has read. */
class Reader {
  readonly numbers: number[] = [];
  #next = "-1";
  #answer?: StreamResponse<number>;
  #isEnded = false;
  readonly #live: LiveMode;

  constructor(live: LiveMode) {
    this.#live = live;
    void this.#follow();
  }

  async #follow(): Promise<void> {
    while (!this.#isEnded) {
      const answer = await handle.stream<number>({ live: this.#live, offset: this.#next });
      this.#answer = answer;
      answer.subscribeJson(({ items, offset }) => {
        this.numbers.push(...items);
        this.#next = offset;
      });
      // The client repeats requests, but not events whose connection is lost.
      await answer.closed.catch(() => undefined);
    }
  }

  async has(count: number): Promise<void> {
    const { numbers: got } = this;
    await until(
      () => `${this.#live}: ${got.length} of ${count}, the last of which is ${got.at(-1)}`,
      async () => got.length >= count,
      60_000,
    );
    assert.deepEqual(got, numbers(0, count));
  }

  end(): void {
    this.#isEnded = true;
    this.#answer?.cancel();
  }
}

/** Appends these numbers, up to so many bytes in a request, and returns the errors. */
async function produce(handle: DurableStream, from: number, to: number, maxBatchBytes: number): Promise<Error[]> {
  const errors: Error[] = [];
  const onError = (error: Error) => errors.push(error);
  const producer = new IdempotentProducer(handle, `of ${topic}`, { maxBatchBytes, onError });
  for (const number of numbers(from, to)) producer.append(JSON.stringify(number));
  await producer.flush();
  await producer.detach();
  return errors;
}

const head = await handle.head();
assert(head.exists && head.contentType === "application/json");
// The client sends as many in a request as wait for the one before.
await Promise.all(numbers(0, 100).map((number) => handle.append(JSON.stringify(number))));
const caughtUp = await handle.stream<number>({ live: false });
assert.deepEqual(await caughtUp.json(), numbers(0, 100));
assert(caughtUp.upToDate);

const readers = [new Reader("long-poll"), new Reader("sse")];
for (const reader of readers) await reader.has(100);
await ask("kill bridge");
await ask("write 100 200");
await ask("start bridge");
for (const reader of readers) await reader.has(200);

assert.deepEqual(await produce(handle, 200, 300, 1), []);
// A program that has lost its count of what was written.
assert.deepEqual(await produce(handle, 200, 300, 1), []);
// The route packs the messages of a request.
assert.deepEqual(await produce(packed, 0, 300, 100), []);
assert.deepEqual(await produce(packed, 0, 300, 100), []);
assert.deepEqual(await (await packed.stream<number>({ live: false })).json(), numbers(0, 300));
for (const reader of readers) await reader.has(300);
const resumed = await handle.stream<number>({ live: false, offset: caughtUp.offset });
assert.deepEqual(await resumed.json(), numbers(100, 300));

// Nothing was written twice: this is the next number.
await handle.append("300");
for (const reader of readers) {
  await reader.has(301);
  reader.end();
}
end();
