// Commits of a member of a consumer group.

import { allow } from "./check.ts";
import { send } from "./commands.ts";
import type { Connection } from "./connection.ts";
import { GateError } from "./errors.ts";
import type { Places } from "./positions.ts";
import type { TopicRecord } from "./record.ts";

/** @internal A member as the bridge knows it. */
export interface Membership {
  connection: Connection;
  /** The sequence of the subscription's command. */
  subscription: bigint;
  /** The bridge's number of the assignment; 0: it tells none. */
  assignment: bigint;
}

/** @internal The next offset of a partition. */
export interface Offset {
  topic: string;
  partition: number;
  offset: bigint;
}

/** @internal The offsets behind these records of an assignment, or without any those in `taken`. */
export function offsetsBehind(taken: Places, assignment: number, records?: unknown): Offset[] {
  if (records === undefined) {
    // −1: the partition has not begun.
    return [...taken].flatMap(([topic, { next }]) =>
      [...next].flatMap(([partition, offset]) => (offset < 0 ? [] : { topic, partition, offset: BigInt(offset) })),
    );
  }
  const last = new Map<string, Offset>();
  for (const record of [records].flat()) {
    checkRecord(record, "commit");
    const { topic, partition, offset, assignment: of = assignment } = record as TopicRecord;
    if (of !== assignment) throw revoked("the record came before a rebalance");
    if (!taken.get(topic)?.next.has(partition)) throw revoked();
    last.set(`${partition} ${topic}`, { topic, partition, offset: BigInt(offset + 1) });
  }
  return [...last.values()];
}

/** @internal Commits offsets for the group. */
export async function commit({ connection, ...membership }: Membership, offsets: Offset[]): Promise<void> {
  if (!offsets.length) return;
  const command = { case: "cmdKafkaCommit", value: { ...membership, offsets } } as const;
  const { results } = await send(connection, command, "kafkaCommitResp");
  const error = results.find(({ error }) => error)?.error;
  if (error) throw TAKEN.has(error.code) ? revoked(error.message, error.code) : GateError.of(error);
}

/** @internal The error of a commit for a partition that the member does not have now. */
export function revoked(why = "the partition is not this member's now", code = 0): GateError {
  return new GateError(`${why}: records that are not committed come again`, "revoked", { code });
}

const checkRecord = allow("records of this loop, or nothing", (record) => Number.isSafeInteger(record?.offset));

/** Kafka's codes for a member that others have replaced: ILLEGAL_GENERATION, UNKNOWN_MEMBER_ID, REBALANCE_IN_PROGRESS. */
const TAKEN = new Set([22, 25, 27]);
