// Errors of the client: one class, whose fields say what can be done about it.

import { type ErrorResp, Reason as Reasons } from "./generated/pubsub_pb.ts";
import type { Published } from "./message.ts";
import type { Written } from "./record.ts";

/**
 * Why something failed. Most reasons come from the bridge. The client's own are `disconnected` if the connection was
 * lost or not opened, `closed` if the client was closed, and `protocol` if the address or a subprotocol is not valid,
 * this version does not know the answer, or the browser has failed. The client itself also reports `too_large` for a message above the
 * gateway's limit, `unknown_outcome` for a write without an answer in time, `storage` for an outbox that cannot store, and `revoked` for a commit of a member that does not have the
 * partition. A newer bridge's reasons are
 * `reason_unspecified`.
 */
export type Reason = Lowercase<keyof typeof Reasons> | "disconnected" | "closed" | "protocol" | "storage" | "revoked";

/**
 * A command that failed, a connection that was lost, or a subscription that has ended. Wrong arguments are a
 * `TypeError` instead.
 */
export class GateError extends Error {
  /** The class's name. */
  override readonly name = "GateError";
  /** Kafka's error code, on NATS JetStream's `err_code`; 0 if there is none. */
  readonly code: number;
  /** The kind of failure. */
  readonly reason: Reason;
  /** Whether the same command can succeed later. */
  readonly retriable: boolean;
  /** Time to wait before a retry, in milliseconds; 0 if unknown. */
  readonly retryAfter: number;
  /**
   * Whether the record or message may have been written. Writing it again can write it twice, unless it is a message
   * with a `messageId`.
   */
  readonly unknownOutcome: boolean;
  /** Finds the command in the bridge's logs and traces; empty if it has none. */
  readonly traceId: string;
  /**
   * With `out_of_order`, `fenced` and `expired`, if Kafka tells: the producer as Kafka knows it. All its records before
   * `sequence` are written, and none from there on.
   */
  readonly producer: { readonly epoch: number; readonly sequence: number } | undefined;
  /** If a list was written: for each record or message, in their order, where it was written or its error. */
  readonly results: readonly (Written | Published | GateError)[] | undefined;

  /**
   * Creates an error, for example in `refresh`. `about` can have `code`, `retriable`, `retryAfter`, `unknownOutcome`,
   * `traceId`, `producer` and `results`.
   *
   * @example
   * ```ts
   * throw new GateError("logged out", "closed");
   * ```
   */
  constructor(message: string, reason: Reason, about: Partial<Pick<GateError, Details>> = {}) {
    super(message);
    this.reason = reason;
    this.code = about.code ?? 0;
    this.retriable = about.retriable ?? false;
    this.retryAfter = about.retryAfter ?? 0;
    this.unknownOutcome = about.unknownOutcome ?? false;
    this.traceId = about.traceId ?? "";
    this.producer = about.producer;
    this.results = about.results;
  }

  /** @internal */
  static of({
    message,
    reason,
    code,
    retriable,
    retryAfterMs: retryAfter,
    unknownOutcome,
    traceId,
    producer,
  }: ErrorResp): GateError {
    const name = (Reasons[reason] ?? "REASON_UNSPECIFIED").toLowerCase() as Reason;
    const text = message.replace(FOREIGN, (_, text, command) => text + (METHODS[command] ?? command));
    // `new GateError` would make the bundler rename the class, which stack traces show.
    return new this(text, name, { code, retriable, retryAfter, unknownOutcome, traceId, producer });
  }
}

/** The command in the bridge's error about a command of the other messaging system. */
const FOREIGN = /(the cluster is of \w+: expected )(.+)$/;
/** Commands of the protocol, as calls of this client. */
const METHODS: { readonly [command: string]: string } = {
  cmd_kafka_fetch: "gate.fetch(topic, partition, offset)",
  cmd_kafka_list_offsets: "gate.offsets(topic, at)",
  cmd_kafka_produce: "gate.produce(topic, record)",
  cmd_kafka_subscribe: "gate.subscribe(topics)",
  cmd_nats_fetch: "gate.fetch({ stream, sequence })",
  cmd_nats_list_sequences: "gate.sequence(stream, at)",
  cmd_nats_publish: "gate.publish({ stream, subject, data })",
  cmd_nats_subscribe: "gate.subscribe({ streams })",
  "GET /streams": "streams instead of topics; GET /streams of a rest route lists them",
};

/** @internal A second loop over the same object would end at once, as if there were nothing more. */
export const ENDED = "this loop has ended: call subscribe or changes again";

type Details = "code" | "retriable" | "retryAfter" | "unknownOutcome" | "traceId" | "producer" | "results";
