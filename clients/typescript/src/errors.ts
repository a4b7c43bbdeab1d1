// Errors of the client: one class, whose fields say what can be done about it.

import { type ErrorResp, Reason as Reasons } from "./generated/pubsub_pb.ts";

/**
 * Why something failed: a reason of the session protocol, or `disconnected` if the connection was lost, `closed` if the client was
 * closed, and `protocol` if the server sent something that this version does not know.
 */
export type Reason = Lowercase<keyof typeof Reasons> | "disconnected" | "closed" | "protocol";

/** A command that failed, a connection that was lost, or a subscription that has ended. */
export class GateError extends Error {
  override readonly name = "GateError";
  /** Kafka's error code, 0 without one. */
  readonly code: number;
  readonly reason: Reason;
  /** Whether the same can succeed later. */
  readonly retriable: boolean;
  /** How long to wait before a retry, in milliseconds; 0: unknown. */
  readonly retryAfter: number;
  /** A record may or may not have been written: to produce it again can write it twice. */
  readonly unknownOutcome: boolean;

  constructor(message: string, reason: Reason, about: Partial<Pick<GateError, Details>> = {}) {
    super(message);
    this.reason = reason;
    this.code = about.code ?? 0;
    this.retriable = about.retriable ?? false;
    this.retryAfter = about.retryAfter ?? 0;
    this.unknownOutcome = about.unknownOutcome ?? false;
  }

  /** @internal */
  static of({ message, reason, code, retriable, retryAfterMs: retryAfter, unknownOutcome }: ErrorResp): GateError {
    const name = (Reasons[reason] ?? "REASON_UNSPECIFIED").toLowerCase() as Reason;
    return new GateError(message, name, { code, retriable, retryAfter, unknownOutcome });
  }
}

type Details = "code" | "retriable" | "retryAfter" | "unknownOutcome";
