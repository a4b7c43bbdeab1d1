// A member of a group that commits each record of its topic.

import { connect, type MemberEvent } from "sluicegate";

type Share = Extract<MemberEvent, { type: "assigned" }>["partitions"];

/** The partitions of the member, the records that it has committed, and the reasons of those that it could not. */
export const seen = { share: [] as Share, committed: [] as string[], failed: [] as string[] };

export async function join(url: string, topic: string): Promise<void> {
  const onEvent = (event: MemberEvent) => {
    if (event.type === "assigned") seen.share = event.partitions;
  };
  const member = connect(url).subscribe(topic, { group: topic, from: "earliest", onEvent });
  for await (const record of member) {
    try {
      await member.commit(record);
      seen.committed.push(`${record.partition} ${record.offset}`);
    } catch (error) {
      seen.failed.push(`${error}`);
    }
  }
}
