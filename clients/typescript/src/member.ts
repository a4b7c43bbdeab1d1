// Members of consumer groups: subscriptions that share the partitions of topics, and commit what they have processed.

import type { TopicRecord } from "./record.ts";
import type { Subscription } from "./subscription.ts";
import type { SubscribeOptions, SubscriptionEvent } from "./topics.ts";

/**
 * The settings of a member of a consumer group: {@link Gate.subscribe}.
 *
 * @typeParam T the type of values.
 */
export interface MemberOptions<T = any>
  extends Omit<SubscribeOptions<T>, "partitions" | "positions" | "onLag" | "onEvent"> {
  /**
   * The group. Its members share the partitions of their topics, and each begins at what the group has committed. `from`
   * and `last` count in partitions without a commit. The route must list the group under `consume`.
   */
  group: string;
  /**
   * Commits what the loop has come back for: all records before the one that it has at the moment. It does so every 3 s
   * at most, and when the loop ends. A body that does not `await` its work can lose records. By default `false`:
   * {@link Member.commit} does it.
   */
  autoCommit?: boolean;
  /** Called for each event. `assigned` and `revoked` do not wait for the loop. */
  onEvent?: (event: MemberEvent) => void;
}

/** An event of a member of a group. */
export type MemberEvent =
  | SubscriptionEvent
  /** The group has given the member these partitions, none if others have all. Each begins at its `offset`. */
  | {
      readonly type: "assigned";
      readonly partitions: readonly { readonly topic: string; readonly partition: number; readonly offset: number }[];
    }
  /**
   * The group has taken all partitions back, or the connection was lost. What is not committed comes again, here or at
   * another member, and commits fail until `assigned`.
   */
  | { readonly type: "revoked" };

/**
 * A subscription that is a member of a group. It leaves when its loop ends. After a lost connection it joins again
 * when the loop takes the next record, and begins at what is committed.
 *
 * @typeParam T the type of values.
 */
export interface Member<T = any> extends Subscription<TopicRecord<T>> {
  /**
   * Commits, so that the group does not get these records and those before them again, and resolves when Kafka has
   * stored that. The last record of each partition counts.
   *
   * @param records the records that are processed. By default all before the one that the loop has at the moment.
   * @throws {@link GateError} with `reason` `revoked` if the partition is not the member's now, or was revoked since: the
   * record comes again. That is no reason to end the loop. It may have been committed if the connection was lost before
   * the answer.
   *
   * @example
   * ```ts
   * const member = gate.subscribe("orders", { group: "web-orders", from: "earliest" });
   * for await (const record of member) {
   *   await handle(record);
   *   await member.commit(record);
   * }
   * ```
   */
  commit(records?: TopicRecord<T> | readonly TopicRecord<T>[]): Promise<void>;
}
