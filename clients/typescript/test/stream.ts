// A stream `s` of NATS, for the server: sequences begin at 1, the oldest messages can be purged, and message ids are
// stored once.

import assert from "node:assert/strict";

import { create, type MessageInitShape } from "@bufbuild/protobuf";

import { messageCost } from "../src/cost.ts";
import {
  type CmdNatsSubscribe,
  HeaderSchema,
  type NatsMessage,
  NatsMessageSchema,
  type PubSubReq,
  type PubSubRespSchema,
  Reason,
  type RecordFilter,
  Snapshot,
} from "../src/generated/pubsub_pb.ts";
export type Resp = NonNullable<MessageInitShape<typeof PubSubRespSchema>["resp"]>;

const NAME = "s";
const ID = new Uint8Array([7, 7, 7]);
/** Milliseconds. */
export const DUPLICATE_WINDOW = 120_000;

export class Stream {
  readonly messages: NatsMessage[] = [];
  #first = 1;
  #next = 1;
  readonly #ids = new Map<string, number>();
  #changed = () => {};

  watch(changed: () => void): void {
    this.#changed = changed;
  }

  /** Stores messages whose data is their sequence. */
  write(subject: string, count = 1): void {
    for (let number = 0; number < count; number++) this.#store(subject, new TextEncoder().encode(`${this.#next}`));
    this.#changed();
  }

  /** Stores an empty message with headers. */
  put(subject: string, headers: { name: string; value: string }[]): void {
    const fields = headers.map(({ name, value }) => ({ key: name, value: new TextEncoder().encode(value) }));
    this.#store(
      subject,
      new Uint8Array(),
      fields.map((header) => create(HeaderSchema, header)),
    );
    this.#changed();
  }

  /** Deletes everything below a sequence. */
  purge(first: number): void {
    this.#first = first;
    this.messages.splice(0, this.messages.length, ...this.messages.filter(({ sequence }) => sequence >= first));
  }

  answer(req: PubSubReq["req"]): Resp | undefined {
    switch (req.case) {
      case "cmdNatsPublish": {
        const results = req.value.messages.map(({ stream, subject, data, headers, messageId }) => {
          assert.equal(stream, NAME);
          const known = this.#ids.get(messageId);
          const sequence = known ?? this.#store(subject, data, headers);
          if (messageId) this.#ids.set(messageId, sequence);
          const duplicateWindowMs = BigInt(messageId && DUPLICATE_WINDOW);
          return { sequence: BigInt(sequence), duplicate: known !== undefined, duplicateWindowMs };
        });
        this.#changed();
        return { case: "natsPublishResp", value: { results } };
      }
      case "cmdNatsFetch": {
        const { sequence: from, maxMessages } = req.value;
        const messages = this.messages.filter(({ sequence }) => sequence >= from).slice(0, maxMessages || undefined);
        const last = messages.at(-1)?.sequence;
        const nextSequence = last === undefined ? from : last + 1n;
        return { case: "natsFetchResp", value: { messages, nextSequence, end: BigInt(this.#next) } };
      }
      case "cmdNatsListSequences": {
        const results = req.value.times.map(({ timestamp }) => ({ sequence: BigInt(this.#at(timestamp) ?? -1) }));
        return { case: "natsListSequencesResp", value: { results } };
      }
    }
  }

  subscribe({ sources, filters, snapshot }: CmdNatsSubscribe): {
    first: Resp;
    poll?: () => { resp: Resp; cost: number } | undefined;
  } {
    const [source] = sources;
    assert.equal(source?.stream, NAME);
    const { from, streamId } = source;
    if (streamId.length && `${streamId}` !== `${ID}`) {
      return { first: { case: "errorResp", value: { message: "created again", reason: Reason.RECREATED } } };
    }
    const isNew = snapshot === Snapshot.LATEST_PER_KEY && from.case === undefined;
    let next = from.case === "sequence" ? Number(from.value) : (this.#at(from.value ?? -1n) ?? this.#next);
    if (next < 0) next = Math.max(this.#next + next, this.#first);
    const streams = [{ stream: NAME, streamId: ID, nextSequence: BigInt(next) }];
    const newest = new Map(isNew ? this.messages.map((message) => [message.subject, message]) : []);
    const before = [...newest.values()].map((message) => delivery([message], next));
    if (isNew) before.push({ resp: event({ case: "snapshotEnd", value: { skipped: 0n } }), cost: 0 });
    const poll = () => {
      const first = before.shift();
      if (first) return first;
      if (next < this.#first) {
        const value = { stream: NAME, from: BigInt(next), to: BigInt(this.#first) };
        next = this.#first;
        return { resp: event({ case: "skipped", value }), cost: 0 };
      }
      const message = this.messages.find(({ sequence }) => Number(sequence) === next);
      if (!message) return undefined;
      next += 1;
      const matches = filters.every((filter) => isMatch(filter, message.subject));
      return delivery(matches ? [message] : [], next);
    };
    return { first: { case: "natsSubscribedResp", value: { streams, snapshot: isNew } }, poll };
  }

  #store(subject: string, data: Uint8Array, headers: NatsMessage["headers"] = []): number {
    const sequence = this.#next++;
    const place = { sequence: BigInt(sequence), timestamp: BigInt(1000 * sequence) };
    this.messages.push(create(NatsMessageSchema, { ...place, subject, data, headers }));
    return sequence;
  }

  /** The sequence at a timestamp of the contract. */
  #at(timestamp: bigint): number | undefined {
    if (timestamp === -2n) return this.#first;
    if (timestamp === -1n) return this.#next;
    const message = this.messages.find((message) => message.timestamp >= timestamp);
    return message && Number(message.sequence);
  }
}

function delivery(messages: NatsMessage[], next: number): { resp: Resp; cost: number } {
  const value = { messages, stream: NAME, nextSequence: BigInt(next) };
  return { resp: { case: "natsDeliveryResp", value }, cost: messages.reduce((sum, one) => sum + messageCost(one), 0) };
}

function event(event: (Resp & { case: "natsSubscriptionEvent" })["value"]["event"]): Resp {
  return { case: "natsSubscriptionEvent", value: { event } };
}

function isMatch({ header, equals, prefixes }: RecordFilter, subject: string): boolean {
  assert.equal(header, undefined);
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return equals.some((value) => subject === text(value)) || prefixes.some((value) => subject.startsWith(text(value)));
}
