// Subscriptions that outlive their connection: the command is sent again on the next one.

import type { Answer, Command, Connection } from "./connection.ts";
import { GateError } from "./errors.ts";
import { jitter, pause } from "./pause.ts";

/**
 * @internal Subscribes, again and again, until it fails for good. `once` resolves when a subscription has ended, and calls
 * `progress` if it delivers.
 */
export async function persist(signal: AbortSignal, once: (progress: () => void) => Promise<GateError>): Promise<never> {
  for (let failures = 0; ; ) {
    const error = await once(() => {
      failures = 0;
    }).catch((error: unknown) => {
      if (error instanceof GateError) return error;
      throw Array.isArray(error) ? error[0] : error;
    });
    signal.throwIfAborted();
    if (!error.retriable) throw error;
    if (error.reason === "disconnected") continue;
    await pause(signal, error.retryAfter + jitter(failures++));
  }
}

/**
 * @internal Sends a subscription's command, and passes its answers to `take`. `ended` resolves when the subscription has,
 * which `signal` ends too, and rejects with `[error]` if `take` throws. `subscription` is its
 * sequence, and `grant` adds to its credit.
 */
export function listen(
  connection: Connection,
  signal: AbortSignal,
  command: Command,
  take: (answer: Answer) => void,
): { ended: Promise<GateError>; subscription: bigint; grant: (bytes: number) => void } {
  let subscription!: bigint;
  const ended = new Promise<GateError>((resolve, reject) => {
    subscription = connection.send(command, (answer) => {
      if (answer instanceof GateError) return end(answer);
      if (answer.case === "errorResp") return end(GateError.of(answer.value));
      try {
        take(answer);
      } catch (error) {
        // In a list: whatever it is, it comes from this page, and another subscription would not help.
        reject([error]);
        unsubscribe();
      }
    });
    const end = (error: GateError) => {
      connection.forget(subscription);
      signal.removeEventListener("abort", unsubscribe);
      resolve(error);
    };
    const unsubscribe = () => {
      end(new GateError("the subscription was ended", "closed"));
      connection.send({ case: "cmdUnsubscribe", value: { subscription } });
    };
    signal.addEventListener("abort", unsubscribe);
  });
  const grant = (bytes: number) => {
    connection.send({ case: "cmdCredit", value: { subscription, bytes: BigInt(bytes) } });
  };
  return { ended, subscription, grant };
}
