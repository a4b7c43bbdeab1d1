// Kafka and NATS in the browser, in workers and in Node, through an API gateway with Sluicegate.

export type { ConnectOptions, Login, Status } from "./connections.ts";
export type { Content, Data, Schema } from "./data.ts";
export { GateError, type Reason } from "./errors.ts";
export type { Filter } from "./filter.ts";
export { connect, Gate } from "./gate.ts";
export type { LoopOptions } from "./loop.ts";
export type { Member, MemberEvent, MemberOptions } from "./member.ts";
export type { NewMessage, Published, StreamFetched, StreamFetchOptions, StreamMessage } from "./message.ts";
export type { CommandOptions, ProduceOptions, Producer, WriteOptions } from "./options.ts";
export {
  type PositionStore,
  type Positions,
  positionsIn,
  type StoredPositions,
  type StreamPositions,
  type TextStorage,
} from "./positions.ts";
export type {
  Fetched,
  FetchOptions,
  NewHeader,
  NewRecord,
  Topic,
  TopicRecord,
  ValueSchema,
  Written,
} from "./record.ts";
export type { StreamEvent, StreamOptions } from "./streams.ts";
export type { Subscription } from "./subscription.ts";
export type { TableChange } from "./table/changes.ts";
export type {
  StreamTableEvent,
  StreamTableOptions,
  TableEvent,
  TableOptions,
  TableSettings,
  TableStatusEvent,
} from "./table/options.ts";
export type { Table } from "./table/table.ts";
export type { SubscribeOptions, SubscriptionEvent } from "./topics.ts";
