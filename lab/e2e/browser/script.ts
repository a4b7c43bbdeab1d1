// Shared by the scripts: their arguments, requests to the test that has started them, and waiting.

import assert from "node:assert/strict";
import { connect } from "node:net";
import { createInterface } from "node:readline";
import { setTimeout } from "node:timers/promises";

const [, , port, ...rest] = process.argv;
const socket = connect(Number(port), "127.0.0.1");
const answers = createInterface(socket)[Symbol.asyncIterator]();

/** The test's arguments. */
export const args: readonly string[] = rest;

/** Asks the test to do something, as `kill bridge`, and resolves with its answer when it is done. */
export async function ask(request: string): Promise<string> {
  socket.write(`${request}\n`);
  const { value, done } = await answers.next();
  assert(!done, `the test has not answered to ${request}`);
  return value;
}

/** Ends the conversation with the test. */
export function end(): void {
  socket.end();
}

/** Waits until the condition holds, or fails with `what` it waits for. */
export async function until<T>(
  what: () => string,
  condition: () => Promise<T | undefined | false>,
  within = 30_000,
): Promise<T> {
  for (const start = Date.now(); ; ) {
    const value = await condition();
    if (value) return value;
    assert(Date.now() - start < within, `${what()} after ${within} ms`);
    await setTimeout(50);
  }
}
