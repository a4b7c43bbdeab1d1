// A server with one topic of two partitions, or one stream, in place of `WebSocket`: it keeps the rules of the session
// protocol, and tests cut its connections.

import assert from "node:assert/strict";

import { create, fromBinary, toBinary } from "@bufbuild/protobuf";

import { recordCost } from "../src/cost.ts";
import {
  type CmdKafkaCommit,
  type CmdKafkaSubscribe,
  type CmdNatsSubscribe,
  type KafkaMessage,
  KafkaMessageSchema,
  type PubSubReq,
  PubSubReqSchema,
  PubSubRespSchema,
  Reason,
  Snapshot,
} from "../src/generated/pubsub_pb.ts";
import type { Resp, Stream } from "./stream.ts";
import { TableFeed, type Topic } from "./table-feed.ts";

export const PARTITIONS = 2;

export class Server implements Topic {
  topicId = new Uint8Array([1, 2, 3]);
  holdsSnapshots = false;
  holdsRecords = false;
  readonly logs: KafkaMessage[][] = Array.from({ length: PARTITIONS }, () => []);
  /** The offsets that a group has committed, by partition. It gives all partitions to each member. */
  readonly committed = new Map<number, bigint>();
  /** The cluster is of NATS if there is a stream. */
  readonly stream: Stream | undefined;
  readonly open = new Set<Socket>();
  /** Commands in the order in which they came, without questions for the limit. */
  readonly commands: PubSubReq["req"][] = [];
  /** Answers to commands, in place of the usual ones. */
  answer: ((req: PubSubReq["req"]) => Resp | undefined) | undefined;
  opened = 0;
  /** Closes connections as soon as they are open. */
  refuses = false;
  answers = true;
  /** The most bytes of a message. Undefined: the bridge is older, and does not know the question. */
  limit: number | undefined = 1_048_576;
  /** The server has APISIX's own pub/sub. */
  isApisix = false;
  /** The status that a plain request gets, if it gets one. */
  status: number | undefined;
  /** The status that a plain request gets if it has no cookies, and this page can read that. */
  anonymous: number | undefined;
  /** The origins that answer plain requests with something that the client cannot read. */
  readonly unreadable = new Set<string>();
  /** Plain requests. */
  readonly probes: string[] = [];
  /** Number of connections that have an error, and are not closed. */
  fails = 0;

  /** Puts itself in the place of `WebSocket`. */
  constructor(stream?: Stream) {
    const server = this;
    this.stream = stream;
    stream?.watch(() => this.deliver());
    globalThis.WebSocket = class extends Socket {
      constructor(url: string | URL, protocols: string[]) {
        super(server, url, protocols);
      }
    } as unknown as typeof WebSocket;
    globalThis.fetch = (async (url: URL, { mode, credentials }: RequestInit) => {
      this.probes.push(`${url}`);
      const status = credentials === "omit" ? (this.anonymous ?? this.status) : this.status;
      const isAnswered = mode === "no-cors" ? this.unreadable.has(url.origin) : status !== undefined;
      if (!isAnswered) throw Object.assign(new TypeError("fetch failed"), { cause: { code: "ECONNREFUSED" } });
      return { status };
    }) as typeof fetch;
  }

  write(partition: number, count: number, length = 10): void {
    const log = this.logs[partition]!;
    for (let number = 0; number < count; number++) {
      const value = new TextEncoder().encode(`${log.length}`.padEnd(length));
      log.push(create(KafkaMessageSchema, { offset: BigInt(log.length), timestamp: 1n, value }));
    }
    this.deliver();
  }

  /** Writes a record with a key. Without value, it removes the key. */
  put(partition: number, key: string | Uint8Array<ArrayBuffer>, value?: string, timestamp = 1n): void {
    const log = this.logs[partition]!;
    const bytes = (content: string | Uint8Array<ArrayBuffer>) =>
      typeof content === "string" ? new TextEncoder().encode(content) : content;
    const content = { key: bytes(key), value: value === undefined ? undefined : bytes(value) };
    log.push(create(KafkaMessageSchema, { offset: BigInt(log.length), timestamp, ...content }));
    this.deliver();
  }

  /** Sends the snapshot of each table again, and gives members of a group their partitions anew. */
  renew(): void {
    for (const socket of this.open) socket.renew();
    this.deliver();
  }

  /** Delivers what credit allows. */
  deliver(): void {
    for (const socket of this.open) socket.deliver();
  }

  /** Sends something to all subscriptions. */
  tell(resp: Resp): void {
    for (const socket of this.open) socket.tell(resp);
  }

  /** Tells the clients that their identities expire soon. */
  expiring(): void {
    for (const socket of this.open) socket.expiring();
  }

  /** Closes all connections, because their clients' identities have expired. */
  expire(): void {
    for (const socket of [...this.open]) socket.close(3000, "identity expired");
  }

  cut(): void {
    for (const socket of [...this.open]) socket.close(1006);
  }
}

type EventInit = NonNullable<(Resp & { case: "kafkaSubscriptionEvent" })["value"]["event"]>;

interface Subscription {
  credit: number;
  /** The next delivery, if there is something to deliver. Empty deliveries cost nothing. */
  poll: () => { resp: Resp; cost: number } | undefined;
  /** Sends a table's snapshot, or a member's partitions, again. */
  renew?: () => void;
}

class Socket {
  static readonly OPEN = 1;
  readyState = 0;
  onopen: (() => void) | undefined;
  onerror: (() => void) | undefined;
  onclose: ((event: { code: number; reason: string }) => void) | undefined;
  onmessage: ((event: { data: ArrayBuffer }) => void) | undefined;
  readonly #subscriptions = new Map<bigint, Subscription>();
  /** The number of the last assignment of each member. */
  readonly #assignments = new Map<bigint, bigint>();
  /** The sequence of the question for the limit. */
  #asked = 0n;

  constructor(
    readonly server: Server,
    readonly url: string | URL,
    readonly protocols: string[],
  ) {
    queueMicrotask(() => {
      if (this.readyState !== 0) return;
      if (server.fails > 0) {
        server.fails -= 1;
        return this.onerror?.();
      }
      this.readyState = 1;
      server.open.add(this);
      server.opened += 1;
      this.onopen?.();
      if (server.refuses) this.close(1013);
    });
  }

  send(bytes: Uint8Array<ArrayBuffer>): void {
    const { sequence, req } = fromBinary(PubSubReqSchema, bytes);
    if (this.server.isApisix && !APISIX.has(req.case)) {
      // It sees `cmd_empty`, and answers to that. Behind the command, it would replace the command elsewhere.
      const isAnswered = `${bytes.subarray(0, 3)}` === "250,1,0";
      if (isAnswered) this.#answer(sequence, UNKNOWN);
      return;
    }
    if (req.case === "cmdSession") {
      this.#asked = sequence;
      return this.#answer(sequence, session(this.server.limit));
    }
    assert.ok(bytes.length <= (this.server.limit ?? Infinity), "a message above the limit would end the session");
    this.server.commands.push(req);
    if (!this.server.answers) return;
    if (req.case === "cmdAuth" && !this.server.answer) return this.#answer(sequence, { case: "authResp", value: {} });
    const answer =
      this.server.answer?.(req) ?? refusal(req.case, this.server.stream) ?? this.server.stream?.answer(req);
    if (answer) return this.#answer(sequence, answer);
    if (req.case === "cmdPing") this.#answer(sequence, { case: "pongResp", value: {} });
    if (req.case === "cmdUnsubscribe") this.#subscriptions.delete(req.value.subscription);
    if (req.case === "cmdKafkaSubscribe") this.#subscribe(sequence, req.value);
    if (req.case === "cmdKafkaCommit") this.#answer(sequence, this.#commit(req.value));
    if (req.case === "cmdNatsSubscribe") this.#subscribeStream(sequence, req.value);
    if (req.case === "cmdCredit") {
      const subscription = this.#subscriptions.get(req.value.subscription);
      if (subscription) subscription.credit += Number(req.value.bytes);
      this.deliver();
    }
  }

  expiring(): void {
    this.#answer(this.#asked, { case: "sessionExpiringResp", value: { expiresInMs: 1000n } });
  }

  close(code: number, reason = ""): void {
    if (this.readyState === 3) return;
    this.readyState = 3;
    this.server.open.delete(this);
    queueMicrotask(() => this.onclose?.({ code, reason }));
  }

  #subscribe(sequence: bigint, command: CmdKafkaSubscribe): void {
    const { sources, credit, snapshot, group } = command;
    const [source] = sources;
    assert.equal(source?.topic, "t");
    if (snapshot === Snapshot.LATEST_PER_KEY) {
      assert.equal(source.from.case, undefined, "a table has no `from`");
      const feed = new TableFeed(this.server, command);
      this.#subscriptions.set(sequence, { poll: () => feed.poll(), renew: () => feed.begin(), credit: Number(credit) });
      return this.deliver();
    }
    const begin = (partition: number) => {
      const next = source.next.find((next) => next.partition === partition);
      if (next) return Number(next.offset);
      const { from } = source;
      const end = this.server.logs[partition]!.length;
      if (from.case === "offset") return from.value < 0n ? Math.max(end + Number(from.value), 0) : Number(from.value);
      return from.value === -2n ? 0 : end;
    };
    const next = new Map<number, number>();
    const topics = () => {
      for (const partition of this.server.logs.keys()) {
        next.set(partition, Number((group && this.server.committed.get(partition)) ?? begin(partition)));
      }
      const partitions = [...next].map(([partition, offset]) => ({ partition, offset: BigInt(offset) }));
      return [{ topic: "t", topicId: this.server.topicId, partitions }];
    };
    const event = (event: EventInit) => this.#answer(sequence, { case: "kafkaSubscriptionEvent", value: { event } });
    const assign = () => {
      const assignment = (this.#assignments.get(sequence) ?? 0n) + 1n;
      this.#assignments.set(sequence, assignment);
      event({ case: "assigned", value: { topics: topics(), assignment } });
    };
    const renew = () => {
      event({ case: "revoked", value: {} });
      assign();
    };
    if (group) {
      assert.deepEqual(
        [source.next, source.partitions, source.topicId.length],
        [[], [], 0],
        "the group has the places",
      );
      this.#answer(sequence, { case: "kafkaSubscribedResp", value: { topics: [{ topic: "t" }] } });
      assign();
    } else this.#answer(sequence, { case: "kafkaSubscribedResp", value: { topics: topics() } });
    const poll = () => {
      for (const [partition, offset] of next) {
        const message = this.server.logs[partition]![offset];
        if (!message) continue;
        next.set(partition, offset + 1);
        const value = { messages: [message], topic: "t", partition, nextOffset: BigInt(offset + 1) };
        return { resp: { case: "kafkaDeliveryResp", value } as const, cost: recordCost(message) };
      }
      return undefined;
    };
    this.#subscriptions.set(sequence, { poll, credit: Number(credit), renew: group ? renew : undefined });
    this.deliver();
  }

  #commit({ subscription, offsets, assignment }: CmdKafkaCommit): Resp {
    const isCurrent = this.#assignments.get(subscription) === assignment;
    const error = this.#subscriptions.has(subscription) && isCurrent ? undefined : { code: 22, message: "too late" };
    for (const { partition, offset } of offsets) if (!error) this.server.committed.set(partition, offset);
    return { case: "kafkaCommitResp", value: { results: offsets.map(() => ({ error })) } };
  }

  #subscribeStream(sequence: bigint, command: CmdNatsSubscribe): void {
    const { first, poll } = this.server.stream!.subscribe(command);
    this.#answer(sequence, first);
    if (poll) this.#subscriptions.set(sequence, { poll, credit: Number(command.credit) });
    this.deliver();
  }

  /** Delivers what credit allows, one message at a time. */
  deliver(): void {
    for (const [sequence, subscription] of this.#subscriptions) {
      while (subscription.credit > 0) {
        const delivery = subscription.poll();
        if (!delivery) break;
        subscription.credit -= delivery.cost;
        this.#answer(sequence, delivery.resp);
      }
    }
  }

  renew(): void {
    for (const { renew } of this.#subscriptions.values()) renew?.();
  }

  tell(resp: Resp): void {
    for (const sequence of this.#subscriptions.keys()) this.#answer(sequence, resp);
  }

  #answer(sequence: bigint, resp: Resp): void {
    const bytes = toBinary(PubSubRespSchema, create(PubSubRespSchema, { sequence, resp }));
    queueMicrotask(() => {
      if (this.readyState === 1) this.onmessage?.({ data: bytes.buffer });
    });
  }
}

function session(limit: number | undefined): Resp {
  return limit === undefined ? UNKNOWN : { case: "sessionResp", value: { maxMessageBytes: limit } };
}

const UNKNOWN: Resp = { case: "errorResp", value: { message: "unknown command" } };
/** Its own commands. */
const APISIX = new Set<string | undefined>(["cmdPing", "cmdKafkaFetch", "cmdKafkaListOffset"]);

/** The error of a command of the other system. */
function refusal(command: string | undefined, stream: Stream | undefined): Resp | undefined {
  const [system, other] = stream ? ["Nats", "Kafka"] : ["Kafka", "Nats"];
  if (!command?.startsWith(`cmd${other}`)) return undefined;
  const expected = command.replace(other, system).replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  const message = `failed to run the command, err: the cluster is of ${stream ? "NATS" : "Kafka"}: expected ${expected}`;
  return { case: "errorResp", value: { message, reason: Reason.INVALID_COMMAND } };
}
