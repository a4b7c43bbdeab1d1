// Partitions that keep accounts of producers, as the bridge and Kafka do together.

import assert from "node:assert/strict";

import { type CmdKafkaProduce, type ProduceRecord, type PubSubReq, Reason } from "../src/generated/pubsub_pb.ts";
import type { Server } from "./server.ts";
import type { Resp } from "./stream.ts";

interface Failure {
  reason: Reason;
  message?: string;
  retriable?: boolean;
  producer?: { epoch: number; sequence: number };
}

export class Accounts {
  /** The values of each partition, with their keys before them. */
  readonly logs: string[][] = [[], []];
  /** By partition and producer. */
  readonly known = new Map<string, { epoch: number; next: number }>();
  /** The bridge is older: it knows neither producers nor dry runs. */
  isOld = false;
  /** The error of a record. */
  refuses: (value: string, isDryRun: boolean) => Reason | undefined = () => undefined;
  /** The error of a command, which each of its records has. */
  refusesAll: (values: string[]) => Reason | undefined = () => undefined;
  /** What happens to a command instead of its answer: the connection is lost `before` or `after` it is written. */
  loses: (values: string[]) => "before" | "after" | undefined = () => undefined;
  /** Partitions have all that was written since the first attempt. */
  areWhole = true;
  /** Records that had been written already when they were sent for the first time, as their age says. */
  youngRepeats = 0;
  /** Sequences of commands, with their records' values. */
  readonly sent: string[] = [];
  readonly #server: Server;

  constructor(server: Server) {
    this.#server = server;
    server.answer = (req) => this.#answer(req);
  }

  get values(): string[] {
    return this.logs.flat();
  }

  #answer(req: PubSubReq["req"]): Resp | undefined {
    if (req.case !== "cmdKafkaProduce") return undefined;
    const { records, producer, dryRun } = req.value;
    const loses = dryRun ? undefined : this.loses(records.map(contentOf));
    if (loses === "before") this.#server.cut();
    else {
      const results = this.#results(req.value);
      if (!loses) return { case: "kafkaProduceResp", value: { results } };
      this.#server.cut();
    }
    assert(producer);
    return { case: "pongResp", value: {} };
  }

  #results({ records, producer, dryRun }: CmdKafkaProduce) {
    const refusals = records.map((record) => this.refuses(contentOf(record), dryRun));
    const error = (reason: Reason) => ({
      error: { reason, message: Reason[reason], retriable: reason === Reason.TRANSIENT },
    });
    if (this.isOld) return records.map((record) => this.#write(record));
    if (dryRun)
      return records.map((record, index) =>
        refusals[index] ? error(refusals[index]) : { ...place(record), offset: -1n },
      );
    assert(producer?.ageMs !== undefined);
    assert(records.every(({ partition }) => partition === records[0]?.partition));
    if (refusals.some((reason) => reason)) return refusals.map((reason) => error(reason ?? Reason.TRANSIENT));
    const refusal = this.refusesAll(records.map(contentOf));
    if (refusal) return records.map(() => error(refusal));
    this.sent.push(`${producer.sequence}: ${records.map(contentOf)}`);
    const key = `${records[0]?.partition}/${producer.id}`;
    const failure = this.#failure(key, producer);
    if (failure) return records.map(() => ({ error: failure }));
    const known = this.known.get(key);
    const account = known?.epoch === producer.epoch ? known : { epoch: producer.epoch, next: 0 };
    this.known.set(key, account);
    return records.map((record, index) => {
      const duplicate = producer.sequence + index < account.next;
      const result = duplicate ? { ...place(record), offset: -1n } : this.#write(record);
      if (!duplicate) account.next++;
      else if (producer.ageMs === 0n) this.youngRepeats++;
      return { ...result, duplicate, duplicateWindowMs: BigInt(WINDOW) };
    });
  }

  #failure(
    key: string,
    { epoch, sequence, ageMs = 0n }: NonNullable<CmdKafkaProduce["producer"]>,
  ): Failure | undefined {
    const account = this.known.get(key);
    if (!account) {
      if (ageMs > 0 && (ageMs > WINDOW || !this.areWhole)) return { reason: Reason.EXPIRED };
      return sequence > 0 ? { reason: Reason.EXPIRED, producer: { epoch, sequence: 0 } } : undefined;
    }
    const next = epoch > account.epoch ? 0 : account.next;
    const producer = { epoch: Math.max(epoch, account.epoch), sequence: next };
    if (epoch < account.epoch) return { reason: Reason.FENCED, producer };
    return sequence > next ? { reason: Reason.OUT_OF_ORDER, producer } : undefined;
  }

  #write(record: ProduceRecord) {
    const { partition } = place(record);
    const offset = this.logs[partition]!.push(`${text(record.key)}${contentOf(record)}`) - 1;
    return { partition, offset: BigInt(offset) };
  }
}

function place({ partition, key }: ProduceRecord) {
  return { partition: partition ?? (key?.at(-1) ?? 0) % 2 };
}

function contentOf({ value }: ProduceRecord): string {
  return text(value);
}

const text = (bytes: Uint8Array | undefined) => new TextDecoder().decode(bytes);
/** Milliseconds. */
export const WINDOW = 18 * 3_600_000;
