// Kafka and NATS in the browser, in workers and in Node, through an API gateway with Sluicegate.

export type { ConnectOptions, Status } from "./connections.ts";
export type { CommandOptions } from "./commands.ts";
export { GateError, type Reason } from "./errors.ts";
export { connect, type Fetched, type FetchOptions, Gate, type NewRecord, type Topic, type Written } from "./gate.ts";
export type { Filter, LoopOptions } from "./loop.ts";
export type { NewMessage, Published, StreamFetched, StreamFetchOptions, StreamMessage } from "./message.ts";
export { type Positions, positionsIn, type PositionStore, type StreamPositions } from "./positions.ts";
export type { Content, Data, Record } from "./record.ts";
export type { StreamEvent, StreamOptions } from "./streams.ts";
export type { Subscription } from "./subscription.ts";
export type { SubscribeOptions, SubscriptionEvent } from "./topics.ts";
