// The conformance suite of Durable Streams, but for the cases of `left-out.json`.

import { readFileSync } from "node:fs";

import { runConformanceTests } from "@durable-streams/server-conformance-tests";
import { beforeEach, type TestContext } from "vitest";

import { type Streams, serve } from "./proxy.ts";

interface LeftOut {
  readonly reason: string;
  /** The only system that cannot serve them. */
  readonly system?: "kafka" | "nats";
  readonly cases: readonly string[];
}

const groups: LeftOut[] = JSON.parse(readFileSync(new URL("left-out.json", import.meta.url), "utf8"));
const streams: Streams = JSON.parse(process.env.STREAMS ?? "{}");
const here = streams.subjects ? "nats" : "kafka";
const leftOut = groups.filter(({ system = here }) => system === here);
const reasons = new Map(leftOut.flatMap(({ reason, cases }) => cases.map((name) => [name, reason])));

function nameOf({ task }: TestContext): string {
  const names = [task.name];
  for (let { suite } = task; suite?.name; suite = suite.suite) names.unshift(suite.name);
  return names.join(" > ");
}

beforeEach((context) => {
  const reason = reasons.get(nameOf(context));
  if (reason !== undefined) context.skip(reason);
});

const baseUrl = await serve(streams);
runConformanceTests({ baseUrl, subscriptions: true });
