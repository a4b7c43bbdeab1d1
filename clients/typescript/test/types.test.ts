import { execFileSync } from "node:child_process";
import { test } from "node:test";

import type {
  Fetched,
  Gate,
  Positions,
  PositionStore,
  Record,
  StreamFetched,
  StreamMessage,
  StreamPositions,
  Subscription,
} from "../src/index.ts";

test("the published types are complete", () => {
  const options = ["--noEmit", "--ignoreConfig", "--strict", "--target", "es2022", "--module", "nodenext"];
  execFileSync("npx", ["tsc", ...options, "dist/index.d.ts"], { stdio: "inherit" });
});

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function same<A, B>(_: Same<A, B>): void {}

/** `npm test` compiles it; nothing runs it. */
export async function types(gate: Gate, records: PositionStore, sequences: PositionStore<StreamPositions>): Promise<void> {
  const topics = gate.subscribe("t", { from: 1, partitions: [0], committed: true, positions: records });
  same<typeof topics, Subscription<Record, Positions>>(true);
  same<ReturnType<Gate["subscribe"]>, Subscription>(true);
  gate.subscribe(["t"], { onEvent: (event) => same<typeof event.partition, number>(true) });

  const streams = gate.subscribe({ streams: "s", from: new Date(), positions: sequences });
  same<typeof streams, Subscription<StreamMessage, StreamPositions>>(true);
  for await (const { stream, sequence, subject, data, headers } of streams) {
    same<[typeof stream, typeof sequence, typeof subject], [string, number, string]>(true);
    // Neither a payload nor a header of NATS is null.
    data.text();
    headers[0]?.value.text();
  }
  gate.subscribe({
    streams: ["s"],
    onEvent: (event) => {
      same<typeof event.stream, string>(true);
      if (event.type === "skipped") same<typeof event.to, number>(true);
      // @ts-expect-error A stream has no partitions.
      event.partition;
    },
  });
  // @ts-expect-error A stream has no partitions.
  gate.subscribe({ streams: "s", partitions: [0] });
  // @ts-expect-error A stream has no transactions.
  gate.subscribe({ streams: "s", committed: true });
  // @ts-expect-error The streams are missing.
  gate.subscribe({ from: "latest" });
  // @ts-expect-error The positions are of topics.
  gate.subscribe({ streams: "s", positions: records });
  // @ts-expect-error Topics have options of their own.
  gate.subscribe("t", { streams: "s" });

  same<Awaited<ReturnType<Gate["fetch"]>>, Fetched>(true);
  const fetched = gate.fetch({ stream: "s", sequence: 1 });
  same<typeof fetched, Promise<StreamFetched>>(true);
  // @ts-expect-error A message needs a subject.
  await gate.publish({ stream: "s", data: "x" });
}
