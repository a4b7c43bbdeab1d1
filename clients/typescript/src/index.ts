// Kafka in the browser, in workers and in Node, through an API gateway with Sluicegate.

export type { ConnectOptions, Status } from "./connections.ts";
export { GateError, type Reason } from "./errors.ts";
export {
  type CommandOptions,
  connect,
  type Fetched,
  type FetchOptions,
  Gate,
  type NewRecord,
  type Topic,
  type Written,
} from "./gate.ts";
export { type Positions, positionsIn, type PositionStore } from "./positions.ts";
export type { Content, Data, Record } from "./record.ts";
export type { Filter, SubscribeOptions, Subscription, SubscriptionEvent } from "./subscription.ts";
