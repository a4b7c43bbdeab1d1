// Loops over the records of one topic, or over the messages of one subject, in a page that only counts them.

import { wsconnect } from "@nats-io/nats-core";
import { connect } from "sluicegate";

/** Records so far, and the bytes of their values. */
export const seen = { records: 0, bytes: 0 };

/** Loops over a topic behind the gateway, from its end on. Resolves when the subscription has begun. */
export async function sluicegate(address: string, topic: string): Promise<void> {
  const gate = connect(`ws://${address}/pubsub`);
  await new Promise<void>((resolve) => {
    const loop = async () => {
      const onEvent = ({ type }: { type: string }) => type === "caughtUp" && resolve();
      for await (const record of gate.subscribe(topic, { onEvent })) count(record.value?.bytes);
    };
    void loop();
  });
}

/** Loops over a subject of nats-server. Resolves when the server has the subscription. */
export async function nats(address: string, subject: string): Promise<void> {
  const connection = await wsconnect({ servers: `ws://${address}` });
  const subscription = connection.subscribe(subject);
  const loop = async () => {
    for await (const message of subscription) count(message.data);
  };
  void loop();
  await connection.flush();
}

function count(value: Uint8Array | undefined): void {
  seen.records += 1;
  seen.bytes += value?.length ?? 0;
}
