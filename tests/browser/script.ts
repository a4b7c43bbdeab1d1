// What the scripts share: their arguments, their requests to the program that has started them, and waiting.

import assert from "node:assert/strict";
import { connect } from "node:net";
import { createInterface } from "node:readline";
import { setTimeout } from "node:timers/promises";

const [, , port, ...rest] = process.argv;
const socket = connect(Number(port), "127.0.0.1");
const answers = createInterface(socket)[Symbol.asyncIterator]();

/** What the test has passed. */
export const args: readonly string[] = rest;

/** Asks the test to do something, as `kill bridge`, and resolves with its answer when it is done. */
export async function ask(request: string): Promise<string> {
  socket.write(`${request}\n`);
  const { value, done } = await answers.next();
  assert(!done, `the test has not answered to ${request}`);
  return value;
}

/** Says that the script has done all it was for. */
export function end(): void {
  socket.end();
}

/** Waits until the condition holds, or fails with `what` it waits for. */
export async function until<T>(what: () => string, condition: () => Promise<T | undefined | false>, within = 30_000): Promise<T> {
  for (const start = Date.now(); ; ) {
    const value = await condition();
    if (value) return value;
    assert(Date.now() - start < within, `${what()} after ${within} ms`);
    await setTimeout(20);
  }
}
